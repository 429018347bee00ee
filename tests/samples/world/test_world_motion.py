"""Flow and occlusion are exact for the painted surfaces."""

import cv2
import numpy as np
import pytest

from lightning_edge.samples.world.appearance import Appearance
from lightning_edge.samples.world.camera import cityscapes_camera
from lightning_edge.samples.world.domains import PLAIN
from lightning_edge.samples.world.flow import solve_geometry
from lightning_edge.samples.world.frames import make_frame, render_snippet, standing_share
from lightning_edge.samples.world.labels import Label
from lightning_edge.samples.world.renderer import Renderer
from lightning_edge.samples.world.town import build_town, ego_motion

HEIGHT, WIDTH, STEP_S = 128, 256, 1 / 17
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


@pytest.fixture(scope="module", params=[1, 5, 8])
def pair(request):
    """Renderer, two painted frames and the two pictures, without light and noise."""
    renderer = Renderer(build_town(request.param, 2.0), cityscapes_camera(HEIGHT, WIDTH))
    look = Appearance(renderer, PLAIN, 0)
    before, previous, now = (renderer.paint(0.5 + step * STEP_S) for step in (-1, 0, 1))
    return (renderer, previous, now, make_frame(renderer, look, previous, before),
            make_frame(renderer, look, now, previous))  # fmt: skip


def warped(image, flow, right=0.0, down=0.0):
    return cv2.remap(image, COLUMNS + flow[..., 0] + right, ROWS + flow[..., 1] + down, cv2.INTER_LINEAR)


def inside_one_surface(previous, now, flow):
    """Pixels whose surroundings show one surface, now and where they came from."""
    same_now = cv2.erode(now.surface.astype(np.float32), np.ones((3, 3))) == cv2.dilate(
        now.surface.astype(np.float32), np.ones((3, 3))
    )
    before = previous.surface.astype(np.float32)
    low, high = cv2.erode(before, np.ones((5, 5))), cv2.dilate(before, np.ones((5, 5)))
    column = np.clip(np.rint(COLUMNS + flow[..., 0]), 0, WIDTH - 1).astype(int)
    row = np.clip(np.rint(ROWS + flow[..., 1]), 0, HEIGHT - 1).astype(int)
    return same_now & (low[row, column] == now.surface) & (high[row, column] == now.surface)


def test_warping_reproduces_the_picture(pair):
    _, previous, now, before, frame = pair
    flow = frame.flow_to_previous
    inner = inside_one_surface(previous, now, flow) & ~frame.occluded
    inner &= (COLUMNS + flow[..., 0] > 1) & (COLUMNS + flow[..., 0] < WIDTH - 2) & (ROWS + flow[..., 1] < HEIGHT - 2)

    def error(picture):
        return np.abs(picture.astype(int) - frame.image).mean(axis=2)[inner].mean()

    exact = error(warped(before.image, flow))
    assert inner.mean() > 0.4
    assert exact < 0.4 * error(before.image)
    # what is left is interpolation: a mistake of a tenth of a pixel in any direction is worse
    for right, down in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        assert exact < error(warped(before.image, flow, right, down))


def test_flow_agrees_with_points_in_space(pair):
    """Rebuild the points of static surfaces from depth and project them into the previous camera."""
    renderer, previous, now, _, frame = pair
    scene = renderer.scene
    moves = (scene.speed != 0) | (scene.lateral_speed != 0) | scene.follows_ego
    static = np.concatenate([~scene.is_limb & ~moves[scene.surface_body], [False, False]])
    chosen = static[now.surface] & (frame.depth_m < 60)
    pixels = np.stack([COLUMNS[chosen], ROWS[chosen], np.ones(chosen.sum())]).astype(float)
    points = np.linalg.inv(now.view.projection) @ (pixels * frame.depth_m[chosen]) + now.view.position[:, None]
    seen = previous.view.projection @ (points - previous.view.position[:, None])
    expected = seen[:2] / seen[2] - pixels[:2]
    np.testing.assert_allclose(frame.flow_to_previous[chosen].T, expected, atol=2e-3, rtol=1e-4)


def test_ground_depth_is_that_of_a_plane(pair):
    _, _, now, _, frame = pair
    ground = np.isin(frame.mask, [Label.ROAD, Label.SIDEWALK]) & (frame.depth_m < 60)
    rays = np.linalg.inv(now.view.projection) @ np.stack([COLUMNS[ground], ROWS[ground], np.ones(ground.sum())])
    np.testing.assert_allclose(frame.depth_m[ground], now.view.position[2] / -rays[2], rtol=1e-3)


def test_a_moment_against_itself_does_not_move(pair):
    renderer, _, now, _, _ = pair
    frame = make_frame(renderer, Appearance(renderer, PLAIN, 0), now, now)
    assert not frame.flow_to_previous.any()
    assert not frame.occluded.any()


def test_standing_still_only_things_move():
    seed = next(seed for seed in range(50) if build_town(seed, 0.5).ego.s(0.4) == 0.0)
    *_, frame = render_snippet(seed, 3, domain="plain", height=HEIGHT, width=WIDTH)
    static = frame.mask < Label.PERSON
    assert static.mean() > 0.5
    assert not frame.flow_to_previous[static].any()


def test_the_ego_vehicle_is_known_without_the_town():
    for seed in range(3):
        town, alone = build_town(seed, 5.0).ego, ego_motion(seed, 5.0)
        assert [town.s(time) for time in (0.5, 2.0, 4.9)] == [alone.s(time) for time in (0.5, 2.0, 4.9)]


def test_on_frames_where_the_vehicle_stands_the_road_does_not_move():
    seed = next(seed for seed in range(100) if 0.2 < standing_share(seed, 34) < 0.8)
    moves = [
        np.median(np.abs(frame.flow_to_previous[frame.mask == Label.ROAD])) > 0.01
        for frame in render_snippet(seed, 34, height=64, width=128)
    ]
    assert 1 - np.mean(moves) == pytest.approx(standing_share(seed, 34), abs=1 / 34)


def test_textures_stick_to_surfaces():
    """The texture coordinates of a point are those it had before, on walkers and cars too."""
    renderer = Renderer(build_town(4, 2.0), cityscapes_camera(HEIGHT, WIDTH))
    previous, now = renderer.paint(0.5), renderer.paint(0.5 + STEP_S)
    geometry = solve_geometry(renderer, now, previous.projection)
    before = solve_geometry(renderer, previous, previous.projection)
    inner = inside_one_surface(previous, now, np.stack([geometry.column - COLUMNS, geometry.row - ROWS], axis=2))
    inner &= (geometry.column > 1) & (geometry.column < WIDTH - 2) & (geometry.row > 1) & (geometry.row < HEIGHT - 2)
    inner &= geometry.inverse_depth > 1 / 30
    for here, there in ((geometry.u, before.u), (geometry.v, before.v)):
        carried = cv2.remap(there, geometry.column, geometry.row, cv2.INTER_LINEAR)
        assert np.abs(carried - here)[inner].max() < 0.02


def test_hidden_points_lie_behind_what_was_seen(pair):
    _, _, _, before, frame = pair
    column, row = COLUMNS + frame.flow_to_previous[..., 0], ROWS + frame.flow_to_previous[..., 1]
    chosen = frame.occluded & (column > 0) & (column < WIDTH - 1) & (row > 0) & (row < HEIGHT - 1)
    seen = before.depth_m[np.rint(row[chosen]).astype(int), np.rint(column[chosen]).astype(int)]
    assert chosen.sum() > 20
    assert (seen < 1.05 * frame.depth_m[chosen]).mean() > 0.9


def test_points_that_enter_the_picture_are_occluded(pair):
    *_, frame = pair
    column, row = COLUMNS + frame.flow_to_previous[..., 0], ROWS + frame.flow_to_previous[..., 1]
    outside = (column < -0.5) | (column > WIDTH - 0.5) | (row < -0.5) | (row > HEIGHT - 0.5)
    assert frame.occluded[outside].all()
