# SPDX-License-Identifier: Apache-2.0
"""Runs with teachers, on a few steps of a tiny dataset."""

import dataclasses
import json
import math

import pytest
import torch

from distilled_runs import CWD, LOGITS, InterruptedTrainer, distilled_run
from road_kd_seg.bundle import load_bundle
from road_kd_seg.networks import build_network
from road_kd_training.checkpoints import LAST
from road_kd_training.config import (
    DistillerConfig,
    InputConfig,
    NetworkConfig,
    TeacherConfig,
)
from road_kd_training.distillers import DISTILLERS
from road_kd_training.engine import STUDENT, Trainer
from road_kd_training.errors import TrainingError
from road_kd_training.objective import CROSS_ENTROPY, ZeroTerms, supervised_loss
from road_kd_training.run_folder import read_result


@pytest.fixture
def config(stereo_tree, tmp_path, tiny_bundle):
    return distilled_run(stereo_tree, tiny_bundle, tmp_path / "run")


def first_convolution(name: str, **options: object) -> str:
    """Module path of a network's first convolution, which is no named tap of it."""
    network = build_network(name, 5, **options)
    return next(path for path, module in network.named_modules() if isinstance(module, torch.nn.Conv2d))


class TestTapsByModulePath:
    def test_modules_of_student_and_teacher_are_compared_and_the_run_resumes(self, config):
        taps = [[first_convolution("enet"), first_convolution("erfnet", depth_channels=1)]]
        distillers = [DistillerConfig("cwd", {"taps": taps})]
        with pytest.raises(KeyboardInterrupt):
            InterruptedTrainer(dataclasses.replace(config, distillers=distillers)).run()
        trainer = Trainer(dataclasses.replace(config, distillers=distillers))
        assert trainer.step == 2
        bundle = trainer.run()
        assert trainer.components.zero_terms.seen >= {"cwd/channel_kl"}
        assert load_bundle(bundle).build_network().feature_info.keys() == build_network("enet", 5).feature_info.keys()

    def test_a_path_that_neither_a_tap_nor_a_module_has_is_refused(self, config):
        distillers = [DistillerConfig("cwd", {"taps": [["wing", "logits"]]})]
        with pytest.raises(TrainingError, match="has no tap 'wing': use one of .*, or the path of a module"):
            Trainer(dataclasses.replace(config, distillers=distillers))


class Fixed:
    """A score whose rank is given."""

    def __init__(self, score, miou):
        self.score, self.selection = score, miou

    def __getattr__(self, name):
        return getattr(self.score, name)


class TestDistillation:
    def test_the_teacher_is_left_as_it_was_and_the_bundle_names_it(self, config, tiny_bundle):
        trainer = Trainer(config)
        before = {key: value.clone() for key, value in trainer.components.teachers[0].network.state_dict().items()}
        bundle = load_bundle(trainer.run())
        after = trainer.components.teachers[0].network.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert bundle.provenance["teachers"][0]["bundle"] == str(tiny_bundle)
        assert bundle.provenance["weights"] == {"cross_entropy": 1.0, "cwd/channel_kl": 3.0}

    def test_adapters_learn_and_are_checkpointed_but_not_shipped(self, config):
        taps = {"taps": [["encoder2", "block3"]]}
        trainer = Trainer(dataclasses.replace(config, distillers=[DistillerConfig("fitnet", taps, {"hint": 1.0})]))
        before = {name: p.detach().clone() for name, p in trainer.learner.distillers.named_parameters()}
        bundle = trainer.run()
        assert before
        assert all(not torch.equal(p, before[n]) for n, p in trainer.learner.distillers.named_parameters())
        saved = torch.load(bundle.parent / LAST, weights_only=True)["learner"]
        assert any(key.startswith("distillers.") for key in saved)
        assert set(load_bundle(bundle).build_network().state_dict()) == set(
            trainer.learner.networks[STUDENT].state_dict()
        )

    def test_interrupt_and_resume_give_the_same_weights_as_one_run(self, config, tmp_path):
        both = dataclasses.replace(config, distillers=[CWD, DistillerConfig("dwld")])
        Trainer(both).run()
        halved = dataclasses.replace(both, output=str(tmp_path / "halved"))
        with pytest.raises(KeyboardInterrupt):
            InterruptedTrainer(halved).run()
        Trainer(halved).run()
        whole, resumed = (
            torch.load(tmp_path / name / LAST, weights_only=True)["learner"] for name in ("run", "halved")
        )
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)

    def test_several_methods_act_at_once_and_one_may_act_twice(self, config):
        softer = DistillerConfig("cwd", {"taps": LOGITS, "temperature": 1.0}, {"channel_kl": 0.5})
        trainer = Trainer(dataclasses.replace(config, distillers=[CWD, softer, DistillerConfig("kd")]))
        assert trainer.components.weights["cwd/channel_kl"] == 3.0
        assert trainer.components.weights["cwd_#2/channel_kl"] == 0.5
        trainer.run()
        assert {f"kd/{term}" for term in DISTILLERS["kd"].default_weights} <= trainer.components.zero_terms.seen

    def test_cpkd_learns_from_the_teacher_alone(self, config):
        taps = {"taps": [["encoder2", "block2"], ["decoder", "decoder"]]}
        trainer = Trainer(dataclasses.replace(config, cross_entropy=0.0, distillers=[DistillerConfig("cpkd", taps)]))
        trainer.run()
        assert trainer.components.weights[CROSS_ENTROPY] == 0
        assert math.isfinite(trainer.best["score"])

    def test_a_teacher_of_a_larger_view_sees_more_pixels_than_the_student(self, config):
        trainer = Trainer(dataclasses.replace(config, teacher_view=1.5, steps=1, validate_every=1))
        sizes = {}

        def note(network, inputs):
            sizes[type(network).__name__] = tuple(inputs[0].shape[2:])

        for network in (trainer.components.teachers[0].network, trainer.components.learner.student):
            network.register_forward_pre_hook(note)
        trainer.run()
        assert sizes == {"ENet": (32, 64), "ErfNet": (48, 96)}

    def test_unlabeled_images_reach_the_method_and_not_the_cross_entropy(self, config, tiny_bundle):
        sslkd = DistillerConfig("sslkd", {"taps": [["encoder2", "block3"]]})
        trainer = Trainer(
            dataclasses.replace(
                config,
                distillers=[sslkd],
                teachers=[TeacherConfig(bundle=str(tiny_bundle))] * 2,
                unlabeled=config.train,
                unlabeled_batch_size=2,
            )
        )
        seen = []
        step = trainer._train_step
        trainer._train_step = lambda *batch: (seen.append(batch[2]), step(*batch))[1]
        trainer.run()
        assert [tuple((image == 255).all() for image in label) for label in seen] == [
            (False, False, False, True, True)
        ] * 4

    @pytest.mark.parametrize(("method", "network"), [("cps", "enet"), ("cms", "erfnet")])
    def test_peers_learn_too_and_get_their_own_bundle(self, config, tmp_path, method, network):
        peer = TeacherConfig(
            network=NetworkConfig(network, {"depth_channels": 1} if network == "erfnet" else {}),
            input=InputConfig(depth="plane_residual") if network == "erfnet" else None,
        )
        trainer = Trainer(dataclasses.replace(config, teachers=[peer], distillers=[DistillerConfig(method)]))
        before = [p.detach().clone() for p in trainer.learner.peers["0"].parameters()]
        trainer.run()
        after = list(trainer.learner.peers["0"].parameters())
        assert sum(not torch.equal(a, b) for a, b in zip(after, before, strict=True)) > len(before) // 2
        assert load_bundle(tmp_path / "run" / "peers" / "0").network == network

    def test_a_student_of_half_size_logits_learns_at_their_size(self, config):
        small = NetworkConfig("roadlite", {"size": "s", "depth_channels": 0})
        methods = [CWD, DistillerConfig("kd"), DistillerConfig("dwld")]
        trainer = Trainer(dataclasses.replace(config, network=small, distillers=methods, steps=1))
        trainer.run()
        assert trainer.step == 1

    @pytest.mark.parametrize(
        ("method", "taps"),
        [("fitnet", [["encoder2", "block3"]]), ("psn", [["encoder1", "block2"], ["encoder2", "block3"]])],
    )
    def test_a_method_waits_for_its_first_step(self, config, method, taps):
        waiting = DistillerConfig(method, {"taps": taps}, start_step=2)
        trainer = Trainer(dataclasses.replace(config, distillers=[waiting]))
        found = []
        step = trainer._train_step
        trainer._train_step = lambda *batch: found.append(step(*batch)) or found[-1]
        trainer.run()
        values = [value for terms in found for name, value in terms.items() if name != CROSS_ENTROPY]
        assert [value == 0 for value in values] == [True, True, False, False]

    def test_a_term_that_is_not_finite_is_named(self, config):
        trainer = Trainer(config)
        next(trainer.components.teachers[0].network.parameters()).fill_(math.nan)
        with pytest.raises(TrainingError, match=r"cwd/channel_kl is (nan|inf) at step 0: lower learning_rate or its"):
            trainer.run()

    def test_the_auxiliary_head_learns_where_it_has_a_weight(self, config):
        network = NetworkConfig("pspnet_r18_half")
        changes = {"network": network, "teachers": [], "distillers": [], "steps": 1}
        for weight in (0.4, 0.0):
            trainer = Trainer(
                dataclasses.replace(config, output=f"{config.output}_{weight}", auxiliary_weight=weight, **changes)
            )
            before = trainer.learner.student.auxiliary_head[0].weight.detach().clone()
            trainer.run()
            after = trainer.learner.student.auxiliary_head[0].weight
            assert trainer.components.weights.get("auxiliary_cross_entropy", 0) == weight
            assert torch.equal(before, after) == (weight == 0)

    def test_an_auxiliary_weight_without_a_head_is_refused(self, config):
        with pytest.raises(TrainingError, match="auxiliary_weight: the student has no auxiliary head"):
            Trainer(dataclasses.replace(config, auxiliary_weight=0.4))

    def test_an_adversary_has_an_optimizer_of_its_own(self, config):
        trainer = Trainer(dataclasses.replace(config, optimizer="sgd", distillers=[DistillerConfig("ho")]))
        own, adversarys = (optimizer.optimizer for optimizer in trainer.optimizers)
        assert isinstance(own, torch.optim.SGD)
        assert isinstance(adversarys, torch.optim.Adam)
        assert adversarys.param_groups[0]["lr"] == 4e-4
        parameters = [{id(x) for group in one.param_groups for x in group["params"]} for one in (own, adversarys)]
        assert not parameters[0] & parameters[1]
        assert parameters[0] | parameters[1] == {id(x) for x in trainer.learner.parameters()}
        trainer.run()
        assert Trainer(trainer.config).step == 4

    def test_a_peer_is_kept_at_its_own_best_step(self, config, tmp_path):
        peer = TeacherConfig(network=NetworkConfig("enet"))
        changes = {"teachers": [peer], "distillers": [DistillerConfig("cps")], "validate_every": 1, "steps": 3}
        trainer = Trainer(dataclasses.replace(config, **changes))
        scores = {STUDENT: iter((0.1, 0.2, 0.3)), 0: iter((0.5, 0.9, 0.4))}
        real = trainer._score
        trainer._score = lambda index: {name: Fixed(score, next(scores[index])) for name, score in real(index).items()}
        trainer.run()
        assert trainer.best["step"] == 3
        assert load_bundle(tmp_path / "run" / "peers" / "0").provenance["step"] == 2

    def test_the_result_says_each_terms_share_of_the_gradient(self, config, tmp_path):
        distillers = [DistillerConfig("dwld"), DistillerConfig("kd")]
        trainer = Trainer(dataclasses.replace(config, distillers=distillers))
        trainer.run()
        shares = read_result(tmp_path / "run")["gradient_shares"]
        assert set(shares) == {"dwld/target", "dwld/non_target", "kd/soft_target_kl"}
        assert all(share > 0 for share in shares.values())

    def test_methods_of_an_equal_share_begin_after_the_warm_up_and_have_it_then(self, config, tmp_path):
        changed = dataclasses.replace(config, distillers=[DistillerConfig("kd")], gradient_share=0.5, warmup_steps=2)
        trainer = Trainer(changed)
        assert trainer.components.learner.methods["kd"].start_step == 2
        trainer.run()
        assert read_result(tmp_path / "run")["gradient_shares"] == {"kd/soft_target_kl": pytest.approx(0.5)}

    def test_snapshots_are_bundles_by_step(self, config, tmp_path):
        Trainer(dataclasses.replace(config, snapshot_every=2)).run()
        steps = sorted(folder.name for folder in (tmp_path / "run" / "snapshots").iterdir())
        assert steps == ["2", "4"]
        assert load_bundle(tmp_path / "run" / "snapshots" / "2").provenance["step"] == 2

    def test_statistics_of_a_method_are_logged(self, config):
        trainer = Trainer(dataclasses.replace(config, distillers=[DistillerConfig("dwld")]))
        trainer.run()
        assert trainer.learner.distillers["dwld"].statistics["weight_max"] >= 1


class TestRecipesThatAreWrong:
    def refused(self, config, message, **changes):
        with pytest.raises(TrainingError, match=message):
            Trainer(dataclasses.replace(config, **changes))

    def test_an_unknown_method_suggests_the_nearest(self, config):
        self.refused(config, "distiller 'cwdd' is unknown: did you mean 'cwd'", distillers=[DistillerConfig("cwdd")])

    def test_an_unknown_option_suggests_the_nearest(self, config):
        wrong = DistillerConfig("cwd", {"temprature": 1.0})
        self.refused(config, "cwd: option 'temprature' is unknown: did you mean 'temperature'", distillers=[wrong])

    def test_a_missing_option_is_named(self, config):
        message = "cwd: option taps is missing: 'road-kd list networks' shows the taps"
        self.refused(config, message, distillers=[DistillerConfig("cwd")])

    def test_an_unknown_term_suggests_the_nearest(self, config):
        wrong = DistillerConfig("cwd", {"taps": LOGITS}, {"chanel_kl": 1.0})
        self.refused(config, "cwd: term 'chanel_kl' is unknown: did you mean 'channel_kl'", distillers=[wrong])

    def test_a_missing_weight_is_named(self, config):
        wrong = DistillerConfig("dkd", weights={"target": 1.0})
        self.refused(config, "dkd: no weight for non_target: give one to each term, 0 to drop it", distillers=[wrong])

    def test_a_teacher_that_nobody_hears_is_refused(self, config):
        self.refused(config, r"no distiller uses teachers \[0\]", distillers=[])

    def test_a_teacher_that_does_not_exist_is_refused(self, config):
        self.refused(config, "cwd: teacher 3 of 1", distillers=[DistillerConfig("cwd", {"taps": LOGITS}, teachers=[3])])

    def test_a_peer_for_a_method_with_frozen_teachers_is_refused(self, config):
        peer = [TeacherConfig(network=NetworkConfig("enet"))]
        self.refused(config, "cwd: teacher 0 must be a trained bundle", teachers=peer)

    def test_a_frozen_teacher_for_a_method_with_peers_is_refused(self, config):
        cps = [DistillerConfig("cps")]
        self.refused(config, "cps: teacher 0 must be a network that learns beside the student", distillers=cps)

    def test_a_teacher_must_be_one_thing(self, config):
        self.refused(config, r"teacher 0: give either a bundle \(trained\) or a network", teachers=[TeacherConfig()])

    def test_a_batch_of_one_for_a_method_that_compares_images_is_refused(self, config):
        rkd = [DistillerConfig("rkd", {"taps": [["encoder2", "block3"]]})]
        self.refused(config, "rkd: batch_size is 1, expected 2 or more: it compares", distillers=rkd, batch_size=1)

    def test_a_start_after_the_end_is_refused(self, config):
        late = [dataclasses.replace(CWD, start_step=4)]
        self.refused(config, "cwd: start_step is 4, expected 0 to below steps, 4", distillers=late)

    def test_unlabeled_sources_need_a_share_of_the_batch(self, config):
        self.refused(config, "unlabeled lists 1 sources and unlabeled_batch_size is 0", unlabeled=config.train)


class TestIdleTerms:
    def test_a_term_that_stays_at_zero_stops_the_run(self):
        zero_terms = ZeroTerms({"a/x": 0, "a/y": 0}, steps=1000)
        for step in range(1, 50):
            zero_terms.check({"a/x": 1.0, "a/y": 0.0}, step)
        with pytest.raises(TrainingError, match="term a/y has been 0 in every step until 50: it teaches nothing here"):
            zero_terms.check({"a/x": 1.0, "a/y": 0.0}, 50)

    def test_a_term_may_be_zero_until_it_starts(self):
        zero_terms = ZeroTerms({"a/x": 100}, steps=1000)
        for step in range(1, 101):
            zero_terms.check({"a/x": 0.0}, step)
        zero_terms.check({"a/x": 1.0}, 101)
        for step in range(102, 300):
            zero_terms.check({"a/x": 0.0}, step)

    def test_a_run_shorter_than_the_grace_is_checked_at_its_end(self):
        zero_terms = ZeroTerms({"a/x": 0}, steps=4)
        for step in range(1, 4):
            zero_terms.check({"a/x": 0.0}, step)
        with pytest.raises(TrainingError, match="until 4"):
            zero_terms.check({"a/x": 0.0}, 4)


class TestSupervisedLoss:
    def test_equals_torch_s_weighted_mean(self):
        logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
        target[0, 0] = 255
        weights = torch.tensor([1.0, 2.0, 5.0])
        expected = torch.nn.functional.cross_entropy(logits, target, weights, ignore_index=255)
        assert supervised_loss(logits, target, weights) == pytest.approx(float(expected), rel=1e-5)

    def test_ignored_pixels_are_inert(self):
        logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
        target[0, 0] = 255
        poisoned = torch.where((target == 255)[:, None], 1e4, logits)
        assert supervised_loss(poisoned, target) == supervised_loss(logits, target)

    def test_a_batch_without_labels_gives_zero_and_a_gradient_of_zero(self):
        logits = torch.randn(1, 3, 4, 5, requires_grad=True)
        loss = supervised_loss(logits, torch.full((1, 4, 5), 255))
        loss.backward()
        assert loss == 0
        assert not logits.grad.any()


def test_the_recipe_is_written_with_everything_resolved(config, tmp_path):
    Trainer(config)
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["distillers"] == [
        {"method": "cwd", "options": {"taps": LOGITS}, "weights": None, "teachers": None, "start_step": 0}
    ]
