from lightning_edge.ops.sampling import evenly_spaced


def test_samples_are_spread_over_all_of_them():
    assert evenly_spaced(10, 4) == [0, 2, 5, 7]
    assert evenly_spaced(3, 5) == [0, 1, 2]
    assert evenly_spaced(0, 5) == []
