import datetime as dt

import pytest
import yaml

from curator_sdg.config import load
from curator_sdg.errors import ConfigError

GOOD = {
    "seeds": {"tasks": ["arc_easy", {"name": "gsm8k", "limit": 5}]},
    "teacher": {"model": "m", "base_urls": ["http://localhost:8000/v1/"]},
}


@pytest.fixture
def written(tmp_path):
    def write(**sections):
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump({**GOOD, **sections}))
        return path

    return write


def test_a_task_is_a_name_or_a_name_with_its_own_limit(written):
    tasks = load(written()).seeds.tasks
    assert [(task.name, task.limit) for task in tasks] == [("arc_easy", None), ("gsm8k", 5)]


def test_an_unknown_key_names_file_key_and_the_nearest_right_name(written):
    path = written(enrich={"sample": 3})
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: enrich.sample: unknown key; did you mean 'samples'?"


def test_an_unknown_key_in_a_nested_section_is_named_in_full(written):
    with pytest.raises(ConfigError, match=r"generate\.sampling\.temprature: unknown key; did you mean 'temperature'"):
        load(written(generate={"sampling": {"temprature": 1}}))


def test_an_unknown_key_in_a_list_is_named_by_its_place(written):
    filters = [{"filter": "m:C", "arg": {}}]
    with pytest.raises(ConfigError, match=r"curate\.filters\.0\.arg: unknown key; did you mean 'args'"):
        load(written(curate={"filters": filters}))


def test_a_wrong_value_says_what_was_expected_and_what_was_there(written):
    with pytest.raises(ConfigError, match=r"enrich\.min_share: input should be less than 1 \(got 7\)"):
        load(written(enrich={"min_share": 7}))


def test_all_mistakes_are_told_at_once(written):
    with pytest.raises(ConfigError) as caught:
        load(written(enrich={"sample": 3}, package={"variants": ["answr"]}))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"model": "m"}, "engine: endpoint needs base_urls"),
        ({"model": "m", "engine": "recorded"}, "engine: recorded needs recording"),
        ({"model": "m", "base_urls": ["http://me:secret@host/v1"]}, "teacher.api_key_env"),
        ({"model": "m", "base_urls": ["localhost:8000"]}, "no http"),
        ({"base_urls": ["http://h/v1"]}, "teacher.model: field required"),
    ],
)
def test_a_teacher_that_cannot_work_is_refused(written, teacher, message):
    with pytest.raises(ConfigError, match=message):
        load(written(teacher=teacher))


def test_overrides_take_yaml_values_and_make_missing_sections(written):
    config = load(written(), ["enrich.samples=3", "package.variants=[answer]", "run.dir=/tmp/x", "seeds.strict=true"])
    assert (config.enrich.samples, config.package.variants, config.seeds.strict) == (3, ("answer",), True)
    assert str(config.run.dir) == "/tmp/x"


@pytest.mark.parametrize("override", ["enrich.samples", "=3", "seeds.tasks.x.y=1"])
def test_an_override_that_cannot_be_read_is_refused(written, override):
    with pytest.raises(ConfigError, match="--set"):
        load(written(), [override])


def test_a_task_listed_twice_is_refused(written):
    with pytest.raises(ConfigError, match="more than once: arc_easy"):
        load(written(seeds={"tasks": ["arc_easy", "gsm8k", {"name": "arc_easy"}]}))


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"extra": {"since": dt.date(2024, 1, 1)}}, "extra must be JSON, as it is sent"),
        ({"extra": {"min_p": float("nan")}}, "extra must be JSON, as it is sent"),
        ({"temperature": float("inf")}, "finite number"),
        ({"extra": {"seed": 1, "top_k": 5}}, "extra must not hold seed: there is a key for that"),
    ],
)
def test_sampling_that_no_request_can_carry_is_refused(written, sampling, message):
    with pytest.raises(ConfigError, match=rf"generate\.sampling\.\w+: .*{message}"):
        load(written(generate={"sampling": sampling}))


def test_a_wave_is_a_whole_number_of_shards(written):
    with pytest.raises(ConfigError, match=r"run: wave_size must be a multiple of shard_size \(100\)"):
        load(written(run={"shard_size": 100, "wave_size": 250}))


@pytest.mark.parametrize(
    ("content", "message"), [("a: [", "not valid YAML"), ("- a", "must be a mapping"), ("", "must be")]
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"seeds": {"tasks": "arc_easy"}}, r"seeds\.tasks: must be a list \(got 'arc_easy'\)"),
        ({"seeds": {"tasks": []}}, r"seeds\.tasks: needs at least 1 entry$"),
        ({"curate": {"filters": ["m:C"]}}, r"curate\.filters\.0: must be a mapping \(got 'm:C'\)"),
        ({"enrich": 3}, r"enrich: must be a mapping \(got 3\)"),
    ],
)
def test_mistakes_are_told_in_yamls_terms(written, sections, message):
    with pytest.raises(ConfigError, match=message):
        load(written(**sections))


def test_an_override_reaches_into_a_list_of_the_file(written):
    path = written(curate={"filters": [{"filter": "m:C", "args": {"min_words": 9}}]})
    assert load(path, ["curate.filters.0.args.min_words=3"]).curate.filters[0].args == {"min_words": 3}
    assert load(path, ["seeds.tasks.0=gsm8k", "seeds.tasks.1.name=piqa"]).seeds.tasks[0].name == "gsm8k"
    with pytest.raises(ConfigError, match=r"curate\.filters is a list of 1; name an entry by its number"):
        load(path, ["curate.filters.1.args={}"])


def test_an_override_of_a_defaults_entry_asks_for_the_whole_list(written):
    with pytest.raises(ConfigError, match=r"no list curate\.filters; .* --set 'curate\.filters=\[\.\.\.\]'"):
        load(written(), ["curate.filters.0.args.min_words=3"])


def test_an_override_below_a_plain_value_says_what_is_there(written):
    with pytest.raises(ConfigError, match=r"run\.dir has no keys of its own; it is 'here'"):
        load(written(run={"dir": "here"}), ["run.dir.x=3"])
    with pytest.raises(ConfigError, match=r"run\.dir: must be a path \(got \{'x': 3\}\)"):
        load(written(), ["run.dir.x=3"])


def test_what_a_run_adds_to_its_own_file_is_passed_over_and_nothing_else(written):
    assert load(written(versions={"a": "1"}, fingerprints={"b": "2"})) == load(written())
    with pytest.raises(ConfigError, match="fingerprint: unknown key"):
        load(written(fingerprint={}))
