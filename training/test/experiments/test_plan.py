# SPDX-License-Identifier: Apache-2.0
"""From rows to configurations: what all rows share, what they do not, and what makes two runs the same."""

import dataclasses

import pytest

from road_kd_training.errors import TrainingError
from road_kd_training.experiments import EXPERIMENTS
from road_kd_training.experiments.plan import fingerprint, make_plan

SYNTHETIC = ["smoke", "small"]
PAIRS = [
    (name, scale)
    for name, experiment in EXPERIMENTS.items()
    for scale in ("smoke", "small", "full")
    if scale != "full" or experiment.full is not None
]
MAY_DIFFER = {"name", "output", "teachers", "distillers", "cross_entropy", "unlabeled", "unlabeled_batch_size"}
"""Between a distilled run and the baseline student of the same seed."""


def plan_of(name, scale="smoke", out="out", data_root="data", **options):
    return make_plan(EXPERIMENTS[name], scale, out=out, data_root=data_root, **options)


def config_of(plan, key, seed=0):
    return next(run.config for run in plan.runs if run.row.key == key and run.seed == seed)


class TestWhatRowsShare:
    @pytest.mark.parametrize(("name", "scale"), PAIRS)
    def test_the_baseline_student_differs_from_a_distilled_one_in_its_teaching_only(self, name, scale):
        plan = plan_of(name, scale)
        for run in plan.runs:
            baseline = plan.experiment.baseline_of(run.row)
            if baseline is None or not run.trains:
                continue
            ours, theirs = vars(run.config), vars(config_of(plan, baseline.key, run.seed))
            # Mixtures, a share of the gradient and labels that a network made are of a row's teaching, too.
            may_differ = MAY_DIFFER | {"gradient_share", *run.row.full}
            may_differ |= set(plan.protocol.unlabeled_settings) if run.row.unlabeled else set()
            may_differ |= {"train"} if run.row.labels_from or run.row.scenes else set()
            may_differ |= {"input"} if run.row.encoding else set()
            may_differ |= {"steps"} if run.row.schedule != 1 else set()
            may_differ |= {"init_from"} if run.row.starts_from else set()
            assert {field for field in ours if ours[field] != theirs[field]} <= may_differ

    @pytest.mark.parametrize(("name", "scale"), PAIRS)
    def test_teachers_come_before_their_students(self, name, scale):
        seen = []
        for run in plan_of(name, scale).runs:
            assert all(teacher.folder in seen for teacher in run.needs)
            seen.append(run.folder)

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_a_teacher_is_trained_once_and_students_once_a_seed(self, name):
        plan = plan_of(name, "small", seeds=[3, 4])
        for row in plan.experiment.rows:
            seeds = [run.seed for run in plan.runs_of(row)]
            assert seeds == {"teacher": [0], "cited": []}.get(row.role, [3, 4])

    @pytest.mark.parametrize("scale", SYNTHETIC)
    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_scenes_of_training_validation_and_test_are_different_ones(self, name, scale):
        plan = plan_of(name, scale)
        config = plan.runs[0].config
        parts = [[*config.train, *config.unlabeled], config.validation, list(plan.tests.values())[:1]]
        seeds = [
            {
                seed
                for source in part
                if source.dataset == "synthetic"
                for seed in range(
                    source.options["first_seed"], source.options["first_seed"] + source.options["num_scenes"]
                )
            }
            for part in parts
        ]
        assert all(seeds)
        assert sum(map(len, seeds)) == len(set.union(*seeds))


class TestRecipesOfThePapers:
    @pytest.mark.parametrize("scale", ["smoke", "small", "full"])
    def test_cpkds_student_sees_no_labels_but_its_teachers(self, scale):
        config = config_of(plan_of("cpkd/table1", scale), "student_c")
        assert config.cross_entropy == 0
        assert config.distillers[0].weights == {"position": 0.5, "channel": 0.5, "teacher_label_ce": 1.0}

    def test_cpkds_variants_distil_the_stages_that_table_2_ticks(self):
        plan = plan_of("cpkd/table2")
        taps = {run.row.key: [s for s, _ in run.config.distillers[0].options["taps"]] for run in plan.runs[2:]}
        assert taps["A"] == ["decoder2"]
        assert taps["H"] == ["encoder1", "encoder3", "encoder5"]
        assert len(taps["E"]) == 5

    def test_lixs_teachers_are_fed_depth_and_its_students_are_not(self):
        for run in plan_of("lix/table1", "full").runs:
            assert (run.config.input.depth == "none") == (run.row.role != "teacher")

    def test_lixs_batches_are_3_and_8(self):
        plan = plan_of("lix/table1", "full")
        assert (config_of(plan, "sne_kd").batch_size, config_of(plan, "mf_kd").batch_size) == (3, 8)
        assert config_of(plan, "mf_kd").steps == 500 * 500 // 8

    def test_sslkds_first_step_trains_both_teachers_beside_each_other(self):
        plan = plan_of("sslkd/table1", "full")
        host = config_of(plan, "teacher1_cms")
        assert [peer.network.name for peer in host.teachers] == ["segnet_vgg16"]
        assert [config.method for config in host.distillers] == ["cms"]
        student = config_of(plan, "sslkd")
        assert [teacher.bundle for teacher in student.teachers] == [
            "out/sslkd_table1/full/teacher1_cms/seed0/bundle",
            "out/sslkd_table1/full/teacher1_cms/seed0/peers/0",
        ]

    @pytest.mark.parametrize("scale", ["smoke", "small", "full"])
    def test_sslkds_semi_supervised_rows_alone_see_unlabeled_images(self, scale):
        for run in plan_of("sslkd/table1", scale).runs:
            assert bool(run.config.unlabeled) == run.row.unlabeled == (run.config.unlabeled_batch_size > 0)

    def test_one_in_five_synthetic_scenes_is_labeled(self):
        config = config_of(plan_of("sslkd/table1", "small"), "sslkd")
        counts = [source.options["num_scenes"] for source in (config.train[0], config.unlabeled[0])]
        assert counts == [160, 640]

    def test_cwds_table_5_combines_three_methods(self):
        config = config_of(plan_of("cwd/table5", "full"), "deeplab_r18_ours")
        assert [one.method for one in config.distillers] == ["pi", "cwd", "ho"]
        assert config.distillers[1].options["taps"] == (("aspp", "pyramid"),)

    def test_students_from_scratch_and_from_imagenet_differ_at_full_scale_only(self):
        for scale, differ in (("full", True), ("small", False)):
            plan = plan_of("cwd/table5", scale)
            scratch, imagenet = (config_of(plan, key).network for key in ("psp_r18_scratch", "psp_r18"))
            assert (scratch != imagenet) == differ

    def test_shares_of_the_steps_follow_the_schedule(self):
        for scale, half in (("smoke", 5), ("small", 750), ("full", 90_000)):
            config = config_of(plan_of("intra_kd/table2", scale), "sad")
            assert config.distillers[0].start_step == half

    def test_wrong_labels_of_wet_road_are_trained_on_and_not_tested_on(self):
        plan = plan_of("cpkd/wet", "small")
        for run in plan.runs:
            assert run.config.train[0].options["wrong_wet"] == 1.0
            assert "wrong_wet" not in run.config.validation[0].options
        assert plan.tests["wet road"].options["only_wet"] is True
        assert all("wrong_wet" not in source.options for source in plan.tests.values())

    def test_wet_road_has_no_full_scale(self):
        with pytest.raises(TrainingError, match="cpkd/wet has no full scale: .*: use --scale small"):
            plan_of("cpkd/wet", "full")


class TestRows:
    def test_a_row_brings_its_teacher_and_its_baseline_student(self):
        assert [run.row.key for run in plan_of("cpkd/table1", rows=["student_c"]).runs] == [
            "student_s",
            "teacher",
            "student_c",
        ]

    def test_an_unknown_row_is_named(self):
        with pytest.raises(TrainingError, match="cpkd/table1 has no row 'student_x': did you mean 'student_"):
            plan_of("cpkd/table1", rows=["student_x"])

    def test_an_unknown_scale_is_named(self):
        with pytest.raises(TrainingError, match="scale 'smal' is unknown: did you mean 'small'"):
            plan_of("cpkd/table1", "smal")


class TestRealFrames:
    def test_they_join_where_their_folder_is(self, stereo_tree):
        plan = plan_of("cpkd/table1", data_root=stereo_tree.parent)
        assert [source.dataset for source in plan.runs[0].config.train] == ["synthetic", "stereo_pothole"]
        assert plan.tests["real frames"].options == {"root": str(stereo_tree), "split": "validation"}
        assert "real frames" not in plan_of("cpkd/table1", data_root="nowhere").tests

    def test_they_stay_out_where_a_table_wants_scenes_alone(self, stereo_tree):
        plan = plan_of("sslkd/table1", data_root=stereo_tree.parent)
        assert {source.dataset for run in plan.runs for source in run.config.train} == {"synthetic"}


class TestFingerprint:
    def test_names_and_places_do_not_count(self):
        here, there = (plan_of("cpkd/table3", "full", out=out, data_root=out) for out in ("here", "there"))
        assert [run.fingerprint for run in here.runs] == [run.fingerprint for run in there.runs]
        assert here.runs[0].folder != there.runs[0].folder

    def test_the_same_row_of_two_tables_is_one_run(self):
        method, variant, both = (
            plan_of(f"cpkd/table{number}", "full").runs_of(EXPERIMENTS[f"cpkd/table{number}"].row(key))[0].fingerprint
            for number, key in ((1, "student_c"), (2, "E"), (3, "both"))
        )
        assert method == variant == both

    def test_steps_and_seeds_and_teachers_count(self):
        run = plan_of("cpkd/table1").runs[-1]
        other = dataclasses.replace(run.config, steps=run.config.steps + 1)
        prints = {
            run.fingerprint,
            fingerprint(other, [teacher.fingerprint for teacher in run.needs]),
            fingerprint(dataclasses.replace(run.config, seed=1), [teacher.fingerprint for teacher in run.needs]),
            fingerprint(run.config, ["another teacher"]),
        }
        assert len(prints) == 4
