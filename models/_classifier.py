"""A classifier that also gives what it decides by."""

from torch import nn

from tuner.nn import mlp


class Classifier(nn.Sequential):
    """`mlp`. `features`: what its last layer sees, in place of the logits."""

    def __init__(self, *sizes, norm=False):
        super().__init__(*mlp(*sizes, norm=norm))

    def forward(self, x_B_, features=False):
        for layer in list(self)[: -1 if features else None]:
            x_B_ = layer(x_B_)
        return x_B_
