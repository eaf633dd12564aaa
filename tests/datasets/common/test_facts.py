"""Which samples of a split are odd."""

from mmopt.datasets.common.facts import SampleFacts, find_odd


def usual(number: int) -> SampleFacts:
    return SampleFacts(f'{number}.jpg', {'car': 2.0}, {'width px': 640.0, 'boxes': 2.0 + number % 2})


def test_the_sample_that_differs_most_is_the_oddest_and_says_in_what():
    samples = [usual(number) for number in range(200)]
    samples[7] = SampleFacts('7.jpg', {'car': 40.0}, {'width px': 640.0, 'boxes': 40.0})
    samples[9] = SampleFacts('9.jpg', {'car': 2.0}, {'width px': 320.0, 'boxes': 2.0})
    samples[11] = SampleFacts('11.jpg', {'car': 2.0, 'bus': 1.0}, {'width px': 640.0, 'boxes': 3.0}, ('a box twice',))
    found = find_odd(samples, 3)
    assert [odd.place for odd in found] == [7, 11, 9]
    assert found[0].reasons == ('boxes 40 (usual 2)',)
    assert found[1].reasons == ('a box twice', 'boxes 3 (usual 2)', 'the only sample with bus')
    assert found[2].reasons == ('width px 320 (usual 640)',)


def test_where_nothing_is_odd_those_that_differ_most_follow():
    found = find_odd([SampleFacts('a', numbers=dict(n=10.0)), *[SampleFacts('b', numbers=dict(n=10.5))] * 5], 2)
    assert found[0].reasons == ('n 10 (usual 10.5)',)
    assert found[1].reasons == ('like the others',)
    assert find_odd([], 5) == []
