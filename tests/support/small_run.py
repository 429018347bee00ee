"""Arguments that make a run of Accel small enough for a test."""

SMALL = [
    "--data.sample_size=[64,96]",
    "--data.num_samples=[2,1]",
    "--data.batch_size=1",
    "--data.num_workers=0",
    "--trainer.logger=[{'class_path':'CSVLogger','init_args':{'save_dir':'runs','name':'accel'}}]",
]
