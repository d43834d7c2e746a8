import pytest
from nemo_curator.stages.resources import Resources
from nemo_curator.stages.text.io.writer import ParquetWriter

from curator_sdg.backend.plan import Group, placement, plan
from curator_sdg.errors import SdgError
from tests.backend.stages import Add, DropOdd, Make, Split, Together, Where


def names(groups: list[Group]) -> list[str]:
    return [group.name for group in groups]


def test_no_stages_no_groups():
    assert plan([]) == []


def test_neighbouring_cpu_stages_are_fused():
    groups = plan([Add(), DropOdd(), Add(name="again")])
    assert names(groups) == ["add+drop_odd+again"]
    assert groups[0] == Group(groups[0].stages, {"CPU": 1.0})


def test_every_stage_is_in_one_group_in_order():
    stages = [Make(), Add(), Split(), Together(), Add(resources=Resources(gpus=1)), Where(), DropOdd()]
    assert [stage for group in plan(stages) for stage in group.stages] == stages


def test_cut_after_a_stage_annotated_to_return_a_list():
    groups = plan([Add(), Split(), Add()])
    assert names(groups) == ["add+split", "add"]
    assert [group.fans_out for group in groups] == [True, False]


def test_cut_after_the_source_stage_whatever_its_annotation():
    source = Add(name="source")
    source.is_source_stage = True
    assert names(plan([source, Add()])) == ["source", "add"]


def test_cut_around_gpu_stages():
    gpu = Add(name="gpu", resources=Resources(cpus=1, gpus=0.5))
    groups = plan([Add(), gpu, gpu, Add()])
    assert names(groups) == ["add", "gpu", "gpu", "add"]
    assert groups[1].resources == {"CPU": 1.0, "GPU": 0.5}


def test_cut_around_stages_that_take_several_tasks_at_once():
    groups = plan([Add(), Together(), Add()])
    assert names(groups) == ["add", "together", "add"]
    assert [group.batch_size for group in groups] == [1, 3, 1]


def test_cut_around_stages_that_limit_their_workers():
    groups = plan([Add(), Add(name="one").with_(num_workers=1), Add()])
    assert names(groups) == ["add", "one", "add"]
    assert [group.max_running for group in groups] == [None, 1, None]


def test_cut_where_the_placement_changes_and_fuse_where_it_does_not():
    teacher = {"TEACHER": 1.0}
    groups = plan([Add(), Where(name="a", dask_resources=teacher), Where(name="b", dask_resources=teacher), Add()])
    assert names(groups) == ["add", "a+b", "add"]
    assert groups[1].resources == teacher


def test_batch_size_none_is_one(tmp_path):
    writer = ParquetWriter(path=str(tmp_path)).with_(batch_size=1)
    writer.batch_size = None
    assert plan([writer])[0].batch_size == 1


def test_several_cpus_are_still_one_cpu_worker():
    assert placement(Add(resources=Resources(cpus=4))) == {"CPU": 1.0}


@pytest.mark.parametrize("declared", [{}, {"TEACHER": 0}, "TEACHER"])
def test_senseless_resources_are_refused(declared):
    with pytest.raises(SdgError, match="'where' has dask_resources"):
        plan([Where(dask_resources=declared)])


def test_stages_that_shuffle_are_refused():
    stage = Add(name="shuffle").with_(ray_stage_spec={"is_shuffle_stage": True})
    with pytest.raises(SdgError, match="'shuffle' shuffles data"):
        plan([stage])
