"""The whole scikit-learn contract, with no expected failures."""

import pytest

from sktl import PretrainedFeatures
from tests.contract import assert_whole_contract

# Every option that sends the data another way. The smallest bundled network stands
# for all but the default: the checks fit hundreds of times.
VARIANTS = {
    "default": {},
    "lenet5": {"backbone": "lenet5"},
    "layers": {"backbone": "lenet5", "layers": ["stem", "stage*"]},
    "all": {"backbone": "lenet5", "layers": "all"},
    "max": {"backbone": "lenet5", "pool": "max"},
    "avgmax": {"backbone": "lenet5", "pool": "avgmax"},
    "flatten": {"backbone": "lenet5", "layers": "stage1", "pool": "flatten"},
    "random weights": {"backbone": "lenet5", "weights": None, "random_state": 0},
    "image_size": {"backbone": "lenet5", "image_size": 40},
    "value_range": {"backbone": "lenet5", "value_range": (-64.0, 64.0)},
    "no cache": {"backbone": "lenet5", "cache": None},
    "batch_size": {"backbone": "lenet5", "batch_size": 3},
    "bfloat16": {"backbone": "lenet5", "precision": "bfloat16"},
    "torch": {"backbone": "lenet5", "engine": "torch"},
    "openvino": {"backbone": "lenet5", "engine": "openvino"},
    "on_error": {"backbone": "lenet5", "on_error": "nan"},
    "verbose": {"backbone": "lenet5", "verbose": 1},
}


@pytest.mark.filterwarnings("ignore::sktl.exceptions.DataConversionWarning")
@pytest.mark.parametrize("variant", VARIANTS)
def test_estimator_checks_pass_without_exception(variant, capsys):
    if variant == "openvino":
        pytest.importorskip("openvino")
    estimator = PretrainedFeatures(**VARIANTS[variant])
    assert_whole_contract(estimator)
