"""Callbacks that adapt any module to unlabeled data of another domain, one file a family."""

from callbacks.adaptation._loss import AdaptationLoss as AdaptationLoss
from callbacks.adaptation.adda import ADDA as ADDA
from callbacks.adaptation.adversarial import CDAN as CDAN
from callbacks.adaptation.adversarial import DANN as DANN
from callbacks.adaptation.adversarial import MCD as MCD
from callbacks.adaptation.adversarial import MDD as MDD
from callbacks.adaptation.adversarial import DomainConfusion as DomainConfusion
from callbacks.adaptation.discrepancy import CMD as CMD
from callbacks.adaptation.discrepancy import CORAL as CORAL
from callbacks.adaptation.discrepancy import DAN as DAN
from callbacks.adaptation.discrepancy import JAN as JAN
from callbacks.adaptation.discrepancy import ClassDiscrepancy as ClassDiscrepancy
from callbacks.adaptation.discrepancy import DeepJDOT as DeepJDOT
from callbacks.adaptation.fourier import FDA as FDA
from callbacks.adaptation.output_adversary import ADVENT as ADVENT
from callbacks.adaptation.output_adversary import AdaptSegNet as AdaptSegNet
from callbacks.adaptation.predictions import BNM as BNM
from callbacks.adaptation.predictions import MCC as MCC
from callbacks.adaptation.predictions import EntropyMinimization as EntropyMinimization
from callbacks.adaptation.reconstruction import DRCN as DRCN
from callbacks.adaptation.reconstruction import DSN as DSN
from callbacks.adaptation.self_training import MeanTeacher as MeanTeacher
from callbacks.adaptation.test_time import TENT as TENT
from callbacks.adaptation.translation import CoGAN as CoGAN
from callbacks.adaptation.translation import CyCADA as CyCADA
