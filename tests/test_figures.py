"""The figures that the main job promises, held to its committed scores."""


def test_one_evaluation_scores_at_most_22_percent_of_the_teachers_nine(committed_metrics):
    student, teacher = committed_metrics["cd"], committed_metrics["teacher"]
    assert student["fid_digits/nfe_01"] <= 0.22 * teacher["fid_digits/nfe_09"]


def test_a_second_evaluation_does_no_harm(committed_metrics):
    student = committed_metrics["cd"]
    assert student["fid_digits/nfe_02"] <= student["fid_digits/nfe_01"]
