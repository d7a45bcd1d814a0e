"""Evaluation: how well the agent plays every task of the stream, also those that it does not train on.

``evaluations.csv`` in the run's folder has a row for each evaluation and task, in the order of the evaluations and,
within each, of the stream's tasks. Its columns, all of them in every row:

=============== ========================================================================================================
``step``        steps of training so far (0 before the first update), never above the stream's; the same in all rows of
                an evaluation, and rising from one to the next
``segment``     index, from 0, of the segment that the last of these steps was in: an evaluation at the step that ends a
                visit is that visit's last, and knows nothing yet of the next task. 0 at step 0
``training``    name of that segment's task, the one that is trained on
``task``        name of the task that was played
``family``      the name that all variants of one entry share; of other tasks the same as ``task``
``episodes``    how many were played, at least 1
``return_mean`` mean of their returns, undiscounted, in the world's own rewards
``return_std``  standard deviation of these, of the population (of one episode 0)
``return_min``  the smallest
``return_max``  the largest
``length_mean`` mean of their lengths in steps
``cut``         how many of them did not end, and were cut after ``evaluation.limit`` steps; they count as they stood
=============== ========================================================================================================

Evaluations stand at step 0, at the end of every visit and of the run, and in each visit at ``every / 2**k`` steps after
it began for k = ``evaluation.dense``, ..., 1, and at multiples of ``every``: each at the end of the first update at or
behind such a step. Numbers are written so that they are read back to the last bit. `crl evaluate` writes the same
columns.
"""
