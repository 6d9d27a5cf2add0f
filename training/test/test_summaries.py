# SPDX-License-Identifier: Apache-2.0
import dataclasses

from road_kd_training.distillers import DISTILLERS
from road_kd_training.distillers.common.base import Needs
from road_kd_training.summaries import MethodSummary, summarize_datasets, summarize_experiments, summarize_methods

PLAIN = MethodSummary("x", "Somebody, 2020", Needs(), {"target": 1.0, "non_target": 8.0})


def with_needs(**needs):
    return dataclasses.replace(PLAIN, needs=Needs(**needs)).describe_needs()


class TestSummarizeMethods:
    def test_every_method_is_listed_once_in_order_of_name(self):
        names = [method.name for method in summarize_methods()]
        assert names == sorted(DISTILLERS)

    def test_what_is_listed_is_what_the_class_says(self):
        dkd = next(method for method in summarize_methods() if method.name == "dkd")
        assert dkd.paper == "Zhao et al., CVPR 2022"
        assert dkd.describe_needs() == "labels, 1 teacher, 3 classes or more"
        assert dkd.describe_terms() == "target 1, non_target 8"


class TestSummarizeDatasets:
    def test_depth_and_license_stand_beside_the_options(self):
        found = {dataset.name: dataset for dataset in summarize_datasets()}
        assert found["stereo_pothole"].license == "MIT"
        assert found["cityscapes"].depth.startswith("from stereo disparity")
        assert all(dataset.license != "?" for dataset in found.values())


class TestSummarizeExperiments:
    def test_it_says_which_data_are_needed_and_whether_they_are_there(self, tmp_path):
        (tmp_path / "cityscapes").mkdir()
        found = {one.id: one for one in summarize_experiments(tmp_path)}
        assert (found["cwd/table2"].data, found["cwd/table2"].availability) == ("cityscapes", "there")
        assert (found["sslkd/table1"].data, found["sslkd/table1"].availability) == ("roadnet", "missing: roadnet")
        assert found["overview/real_roads"].data == "real_roads"
        assert found["overview/few_labels"].availability == "rendered on demand"


class TestMethodSummary:
    def test_needs_are_described(self):
        assert with_needs() == "1 teacher"
        assert with_needs(features=True, labels=True) == "features, labels, 1 teacher"
        assert with_needs(unlabeled=True, min_teachers=2, max_teachers=8) == "unlabeled images, 2 to 8 teachers"
        assert with_needs(min_teachers=2, max_teachers=2) == "2 teachers"
        assert with_needs(min_teachers=0, max_teachers=0) == "no teacher"

    def test_small_weights_are_not_rounded_away(self):
        assert dataclasses.replace(PLAIN, terms={"generation": 0.00004}).describe_terms() == "generation 4e-05"
