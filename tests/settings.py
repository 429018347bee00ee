"""One tiny instance of every method and data module; conformance tests run all that fit together."""

from lightning_edge import data, methods, nn
from lightning_edge.data.remapped import CITYSCAPES_TO_CAMVID

ENCODER = "test_resnet"
"""timm's residual net for tests, of 0.5 million parameters."""
SIZE = (64, 96)


def make_segmentation(num_classes):
    return methods.Segmentation(nn.DeepLab(ENCODER, num_classes, hidden_channels=16))


def make_classification(num_classes):
    return methods.Classification(nn.TimmClassifier("shiftresnet20", num_classes, model_options={"expansion": 1}))


def make_coupled_equations(num_classes):
    """Weights that evolve with the activations, found by a gradient that computes them twice."""
    options = {"num_steps": 2, "weight_steps": 3, "gradient": "block_checkpoint"}
    return methods.Classification(nn.TimmClassifier("ode_resnet4", num_classes, model_options=options))


def make_accel(num_classes):
    net = nn.AccelNet(
        nn.DeepLab(ENCODER, num_classes, hidden_channels=16),
        nn.DeepLab(ENCODER, num_classes, hidden_channels=8),
        nn.FlowNetS(width=0.125),
    )
    return methods.Accel(net, branch_stage_fraction=0.5, interval=2, max_interval=3)


def make_accel_of_features(num_classes):
    """Accel-101 in small: one encoder, its features fused with the propagated ones."""
    net = nn.AccelNet(
        nn.DeepLab(ENCODER, num_classes, hidden_channels=16, deformable_groups=1),
        flow=nn.FlowNetS(width=0.125),
        fuse_features=True,
    )
    return methods.Accel(net, branch_stage_fraction=0.5, interval=2, max_interval=3)


def make_deep_feature_flow(num_classes):
    net = nn.AccelNet(nn.DeepLab(ENCODER, num_classes, hidden_channels=16), flow=nn.FlowNetS(width=0.125))
    return methods.Accel(net, branch_stage_fraction=0.5, interval=2, max_interval=3)


def make_cityscapes():
    return data.CityscapesDataModule(sample_size=SIZE, num_samples=(4, 2), batch_size=2, num_workers=0)


def make_cityscapes_video():
    return data.CityscapesVideoDataModule(
        sample_size=SIZE,
        num_samples=(4, 2),
        max_distance=2,
        train_distances=(1, 2),
        batch_size=2,
        num_workers=0,
    )


def make_camvid():
    return data.CamVidDataModule(sample_size=SIZE, num_samples=(8, 8), batch_size=2, num_workers=0)


def make_camvid_video():
    return data.CamVidVideoDataModule(
        sample_size=SIZE, num_samples=(8, 8), max_distance=2, train_distances=(1, 2), batch_size=2, num_workers=0
    )


def make_cifar():
    return data.CIFARDataModule(num_samples=(40, 20), batch_size=4, eval_batch_size=None, num_workers=0)


def make_corrupted_cifar():
    return data.CorruptedCIFARDataModule(num_samples=(40, 20), batch_size=4, num_workers=0)


def make_digits():
    return data.DigitsDataModule(num_samples=(30, 20), batch_size=4, num_workers=0)


def make_mnist():
    return data.MNISTDataModule(num_samples=(30, 20), batch_size=4, num_workers=0)


def make_mnist_m():
    return data.MNISTMDataModule(num_samples=(30, 20), batch_size=4, num_workers=0)


def make_usps():
    return data.USPSDataModule(num_samples=(30, 20), batch_size=4, num_workers=0)


def make_svhn():
    return data.SVHNDataModule(num_samples=(30, 20), batch_size=4, num_workers=0)


def make_bdd100k():
    return data.BDD100KDataModule(input_size=SIZE, sample_size=SIZE, num_samples=(4, 2), batch_size=2, num_workers=0)


def make_bdd100k_segmentation():
    return data.BDD100KSegmentationDataModule(sample_size=SIZE, num_samples=(4, 2), batch_size=2, num_workers=0)


def make_remapped():
    return data.RemappedDataModule(make_cityscapes(), CITYSCAPES_TO_CAMVID, data.CamVidDataModule.class_names)


def make_adaptation():
    return data.AdaptationDataModule(make_mnist(), make_mnist_m())


def make_joint():
    return data.JointDataModule([make_mnist(), make_usps()], balance_parts=True, batch_size=4, num_workers=0)


def make_office_caltech():
    return data.OfficeCaltechDataModule(num_samples=(50, 50, 50, 50), batch_size=4)


def make_detection(num_classes):
    return methods.Detection(nn.CenterDetector(ENCODER, num_classes, channels=16))


def make_domain_aware_detection(num_classes):
    net = nn.DomainNet(nn.CenterDetector(ENCODER, num_classes, channels=16), 28, 2, "encoder")
    return methods.Detection(net)


def make_two_stage_detection(num_classes):
    backbone = nn.TimmBackbone(ENCODER, (4, 8, 16, 32), channels=16)
    return methods.Detection(nn.FasterRCNNDetector(backbone, num_classes, anchor_sizes=(8, 16, 32, 64, 128)))


METHODS = {
    methods.Classification: make_classification,
    methods.Segmentation: make_segmentation,
    methods.Accel: make_accel,
    methods.Detection: make_detection,
}
"""Makers of a method for a number of classes."""

VARIANTS = {
    methods.Accel: (make_accel_of_features, make_deep_feature_flow),
    methods.Classification: (make_coupled_equations,),
    methods.Detection: (make_domain_aware_detection, make_two_stage_detection),
}
"""Further makers, of nets that take another way through the method."""

DATA_MODULES = {
    data.CityscapesDataModule: make_cityscapes,
    data.CityscapesVideoDataModule: make_cityscapes_video,
    data.CamVidDataModule: make_camvid,
    data.CamVidVideoDataModule: make_camvid_video,
    data.CIFARDataModule: make_cifar,
    data.CorruptedCIFARDataModule: make_corrupted_cifar,
    data.DigitsDataModule: make_digits,
    data.MNISTDataModule: make_mnist,
    data.MNISTMDataModule: make_mnist_m,
    data.USPSDataModule: make_usps,
    data.SVHNDataModule: make_svhn,
    data.BDD100KDataModule: make_bdd100k,
    data.BDD100KSegmentationDataModule: make_bdd100k_segmentation,
    data.RemappedDataModule: make_remapped,
    data.JointDataModule: make_joint,
    data.AdaptationDataModule: make_adaptation,
    data.OfficeCaltechDataModule: make_office_caltech,
}

PREDICTS_ONLY = {data.FramesDataModule, data.UnlabeledImagesDataModule}
"""Data modules without labels."""
