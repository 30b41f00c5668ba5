import pytest

from fewstep.reporting.published_results import published_results


@pytest.mark.parametrize(
    ("dataset", "method", "nfe", "fid"),
    [
        ("cifar10", "CD", 1, 3.55),
        ("cifar10", "CT", 2, 5.83),
        ("cifar10", "EDM", 36, 2.04),
        ("cifar10", "iCT", 1, 2.83),
        ("cifar10", "ECT (200k iterations)", 2, 2.15),
        ("imagenet64", "PD", 1, 15.39),
        ("imagenet64", "sCD (XL)", 2, 1.66),
        ("lsun_cat256", "CD", 2, 8.84),
    ],
)
def test_figures_are_found_by_data_set_method_and_nfe(dataset, method, nfe, fid):
    found = [row for row in published_results(dataset) if (row["method"], row["nfe"]) == (method, nfe)]
    assert [row["fid"] for row in found] == [fid]


def test_every_figure_has_its_source_and_numbers():
    for dataset in ("cifar10", "imagenet64", "imagenet256", "lsun_bedroom256", "lsun_cat256"):
        rows = published_results(dataset)
        assert rows and len({(r["method"], r["nfe"]) for r in rows}) == len(rows)
        assert all(r["source"] and r["family"] and r["nfe"] >= 1 and r["fid"] > 1 for r in rows)
    bedroom = next(r for r in published_results("lsun_bedroom256") if r["method"] == "CT")
    assert (bedroom["precision"], bedroom["recall"], bedroom["is"]) == (0.60, 0.17, None)
    assert published_results("digits") == []
