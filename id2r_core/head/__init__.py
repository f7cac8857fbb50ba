"""The head: a linear model of the MakeHuman/MPFB head (`model`), its construction (`build`) and its fit (`fit`)."""
