"""Training, one short loop a stage: identity, codebook, domains, fusion, swapper, templates; `cli` runs them in order.

cli -> stage (identity, codebook, fusion, swapper, templates) -> loop (time box, EMA, checkpoints, logs)
data: pool (rendered subjects, kept and replayed), portraits (aligned crops of real photographs)
"""
