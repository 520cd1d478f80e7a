"""Data diet: a score for every training image, and training on a part of them that the score chooses.

One file a score; larger = harder. Which part is kept is a frozen value, ``Diet``, and part of a task's settings.

| ``of`` | a score looks at | and is called |
| --- | --- | --- |
| ``"network"`` | networks trained for some epochs on all images | ``f(net, x, y)``, for each of them, batch by batch |
| ``"training"`` | what such a training got right, visit by visit | it is a counter, see ``forgetting`` |
| ``"image"`` | the images alone | ``f(x, y)``, batch by batch |
| ``"seed"`` | nothing: a fresh draw for every seed of the board | ``f(n, generator)`` |

Networks are scored in evaluation mode on un-augmented images in 32 bits; scores are averaged over ``runs`` networks.
"""

from sparsebench.diet.spec import RUNS, SCORING_SEED, Diet, arms, read, shares

__all__ = ["RUNS", "SCORING_SEED", "Diet", "arms", "read", "shares"]
