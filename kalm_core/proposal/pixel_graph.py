"""Graph-based segmentation of an image (Felzenszwalb and Huttenlocher 2004) on RGB-D edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree


def segment_graph(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    difference: NDArray[np.floating],
    count: int,
    preference: float,
) -> NDArray[np.int64]:
    """Join nodes whose difference is no larger than what both their groups contain already.

    Args:
        first: (E,) the node at one end of each edge.
        second: (E,) the node at the other end.
        difference: (E,) non-negative dissimilarity of each edge.
        count: number of nodes.
        preference: the paper's k; larger gives larger groups.

    Returns:
        (count,) group labels, 0 .. G-1.
    """
    # Groups only ever join along edges of the minimum spanning tree, which is far smaller.
    graph = coo_matrix((difference + 1e-6, (first, second)), (count, count))
    tree = minimum_spanning_tree(graph).tocoo()
    order = np.argsort(tree.data, kind="stable")
    parent = list(range(count))
    size = [1] * count
    internal = [0.0] * count

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    edges = zip(
        tree.row[order].tolist(), tree.col[order].tolist(), tree.data[order].tolist(), strict=True
    )
    for a, b, weight in edges:
        a, b = root(a), root(b)  # noqa: PLW2901
        limit = min(internal[a] + preference / size[a], internal[b] + preference / size[b])
        if a != b and weight <= limit:
            if size[a] < size[b]:
                a, b = b, a  # noqa: PLW2901
            parent[b] = a
            size[a] += size[b]
            internal[a] = max(internal[a], internal[b], weight)
    roots = np.array([root(node) for node in range(count)])
    return np.asarray(np.unique(roots, return_inverse=True)[1]).reshape(-1)
