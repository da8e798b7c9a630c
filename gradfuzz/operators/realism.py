"""Which real faults each operator reproduces: ids of ``corpora/bugs``, measured there. See ``Operator.realism``."""

CUT_VALUE = """
    a3c-logprobs-rebuilt apex-cast-cache-eval-then-train deepinv-gsdrunet-grad-mode-leak deepxde-as-tensor-list
    densetnt-goals2d-detach diffusers5016-text-encoder-lora-flags gflownet-logprobs-clone-detached maniskill-sac-alpha-loss-leak
    optimumgraphcore-from-pretrained-freeze peft2099-modules-to-save-parameter pytorch-33545-observer-returns-detached-copy
    seed-ex2-premature-detach seed-ex3-hidden-detach-last simac-term-detach-item sliif-resmlps-numpy-roundtrip
    tinyllava-vision-tower-no-grad transformer-engine-72-no-gradient-in-evaluation-mode vissl-infonce-all-gather-no-grad
    vitpytorch-extractor-detach
"""
"""Where one value loses its gradient, by whatever means."""

REALISM = {
    "activation-to-argmax-one-hot": "cdpn-argmax-coordinates pytorch1339-argmax-between-nets",
    "activation-to-heaviside": "dirac-occlusion-mask-comparison",
    "activation-to-relu": "allennlp-template-8-relu-dead-from-the-start pep-4-threshold-starts-at-minus-150 population-scalenet-relu-zeros",
    "boolean-mask": """
        ace-corrector-clamp caustics-where-nan diffdrr-grid-sample-nearest evonorm-4-variance-of-one-pixel
        pylate-239-epsilon-vanishes-in-half sapt-lora-a-and-b-zero
    """,
    "both-factors-zero": "pytorch-108956-layer-norm-of-one-feature sapt-lora-a-and-b-zero",
    "broadcast-in-loss": "talent-92-targets-broadcast-to-a-square",
    "bypass-node": """
        arcface-sine-sqrt e3nn-norm-activation-nan evonorm-4-variance-of-one-pixel gliner2-155-clamp-bound-rounds-to-one
        misicnet-layer2-unused pylate-239-epsilon-vanishes-in-half pytorch-63541-sum-of-a-layer-norm
        pytorch61810-acos-edge transformers-17306-half-mask-row-overflows
    """,
    "cast-round-trip": "deepxde-as-tensor-list evonorm-4-variance-of-one-pixel pylate-239-epsilon-vanishes-in-half pytorch91431-long-cast",
    "checkpoint-without-input-grad": """
        a3c-logprobs-rebuilt densetnt-goals2d-detach diffusers5016-text-encoder-lora-flags gflownet-logprobs-clone-detached
        optimumgraphcore-from-pretrained-freeze pytorch-33545-observer-returns-detached-copy seed-ex2-premature-detach
        sliif-resmlps-numpy-roundtrip tinyllava-vision-tower-no-grad transformer-engine-72-no-gradient-in-evaluation-mode
        vitpytorch-extractor-detach
    """,
    "clamp-to-narrow-range": "ace-corrector-clamp",
    "constant-where-branch": "keqa-attention-softmax-last-dim moe-k1-softmax-single",
    "cut-loss-term": "a3c-logprobs-rebuilt simac-term-detach-item",
    "detach-parameter": """
        apex-cast-cache-eval-then-train nemo-automodel-tied-head-not-tied optimumgraphcore-from-pretrained-freeze
        peft2099-modules-to-save-parameter pytorch-17484-parameter-moved-in-constructor transformer-lens-1725-assign-unties-the-embedding
    """,
    "detach-then-requires-grad": """
        a3c-logprobs-rebuilt apex-cast-cache-eval-then-train deepxde-as-tensor-list densetnt-goals2d-detach dgunet-loss-torch-tensor-list
        diffusers5016-text-encoder-lora-flags gflownet-logprobs-clone-detached maniskill-sac-alpha-loss-leak
        optimumgraphcore-from-pretrained-freeze peft2099-modules-to-save-parameter pytorch-33545-observer-returns-detached-copy
        seed-ex2-premature-detach simac-term-detach-item sliif-resmlps-numpy-roundtrip tinyllava-vision-tower-no-grad
        transformer-engine-72-no-gradient-in-evaluation-mode truxify-maml-inner-data-update vissl-infonce-all-gather-no-grad
        vitpytorch-extractor-detach
    """,
    "double-softmax": "transformer-gcn-32-softmax-before-cross-entropy",
    "drop-branch": "pytorch-63541-sum-of-a-layer-norm",
    "drop-epsilon": """
        arcface-sine-sqrt e3nn-norm-activation-nan lerobot-239-constant-feature-is-normalised pylate-239-epsilon-vanishes-in-half
    """,
    "evaluation-mode": "vsepp-4-evaluation-mode-after-validation",
    "flip-requires-grad-parameter": """
        apex-cast-cache-eval-then-train optimumgraphcore-from-pretrained-freeze peft2099-modules-to-save-parameter
        pytorch-17484-parameter-moved-in-constructor slot-attention-8-slot-means-are-a-buffer
    """,
    "floor-division": """
        ace-corrector-clamp allennlp-template-8-relu-dead-from-the-start diffdrr-grid-sample-nearest evonorm-4-variance-of-one-pixel
        pep-4-threshold-starts-at-minus-150 population-scalenet-relu-zeros pylate-239-epsilon-vanishes-in-half sapt-lora-a-and-b-zero
    """,
    "freeze-module": """
        a3c-logprobs-rebuilt densetnt-goals2d-detach diffusers5016-text-encoder-lora-flags gflownet-logprobs-clone-detached
        pytorch-33545-observer-returns-detached-copy seed-ex2-premature-detach sliif-resmlps-numpy-roundtrip
        tinyllava-vision-tower-no-grad transformer-engine-72-no-gradient-in-evaluation-mode vitpytorch-extractor-detach
    """,
    "freeze-parameter": """
        apex-cast-cache-eval-then-train optimumgraphcore-from-pretrained-freeze peft2099-modules-to-save-parameter
        pytorch-17484-parameter-moved-in-constructor slot-attention-8-slot-means-are-a-buffer
    """,
    "fresh-parameter": """
        apex-cast-cache-eval-then-train nemo-automodel-tied-head-not-tied optimumgraphcore-from-pretrained-freeze
        peft2099-modules-to-save-parameter pytorch-17484-parameter-moved-in-constructor transformer-lens-1725-assign-unties-the-embedding
    """,
    "inf-mask-before-scale": "pylate-239-epsilon-vanishes-in-half",
    "insert-data": CUT_VALUE,
    "insert-detach": CUT_VALUE,
    "leftover-hook": "robustar-76-hooks-of-a-visualiser-left-on",
    "metric-as-loss": "population-scalenet-relu-zeros",
    "naive-formula": "ganhacks-36-sigmoid-then-cross-entropy scae-4-log-of-a-sum-of-exponentials",
    "nearest-instead-of-bilinear": "diffdrr-grid-sample-nearest",
    "no-grad-region": """
        a3c-logprobs-rebuilt apex-cast-cache-eval-then-train deepinv-gsdrunet-grad-mode-leak densetnt-goals2d-detach
        diffusers5016-text-encoder-lora-flags gflownet-logprobs-clone-detached maniskill-sac-alpha-loss-leak
        optimumgraphcore-from-pretrained-freeze pytorch-33545-observer-returns-detached-copy seed-ex2-premature-detach
        seed-ex3-hidden-detach-last sliif-resmlps-numpy-roundtrip tinyllava-vision-tower-no-grad
        transformer-engine-72-no-gradient-in-evaluation-mode vitpytorch-extractor-detach
    """,
    "normalise-by-sum": "keqa-attention-softmax-last-dim minimind-router-k1-renormalised",
    "numpy-round-trip": CUT_VALUE,
    "off-by-one-index": "bonsai-segment-zero-is-padding",
    "padding-row": "tucker-padding-idx-real-entity",
    "partial-backward": "torchngp-gridencoder-pos-deriv",
    "rebuild-tensor": CUT_VALUE,
    "remove-detach": """
        ace-corrector-clamp efficientfi-ste-missing-detach encodeattend-critic-not-detached encodec-rvq-residual-ste
        maniskill-sac-alpha-loss-leak
    """,
    "repeat-call": "autonomous-learning-154-mean-squashed-twice",
    "rescale-input": "nestedunet-input-divided-twice transformers-17306-half-mask-row-overflows",
    "reweight-loss": "protein-frame-flow-23-auxiliary-loss-counted-twice",
    "saturate": "allennlp-template-8-relu-dead-from-the-start moe-k1-softmax-single pep-4-threshold-starts-at-minus-150",
    "scale-tiny": "caustics-where-nan pylate-239-epsilon-vanishes-in-half",
    "skip-reshape": "wgan-gp-47-penalty-norm-over-one-axis",
    "softmax-over-singleton": "keqa-attention-softmax-last-dim",
    "sqrt-at-zero": "arcface-sine-sqrt e3nn-norm-activation-nan",
    "squash-before-loss": "ace-corrector-clamp",
    "standardise-input": "transformers-17306-half-mask-row-overflows wheatley-93-advantage-of-one-sample",
    "straight-through": """
        gap-data-clamp-inexact lsquantization-1-gradient-outside-the-range pytorch-handbook-69-factor-missing-in-backward
        transformers-ep-sentinel-router
    """,
    "swap-clamp-bounds": "gliner2-155-clamp-bound-rounds-to-one pylate-239-epsilon-vanishes-in-half",
    "swap-operands": "caustics-where-nan",
    "swap-order": """
        arcface-sine-sqrt caustics-where-nan e3nn-norm-activation-nan gliner2-155-clamp-bound-rounds-to-one
        pylate-239-epsilon-vanishes-in-half pytorch61810-acos-edge pytorch89543-nan-ignoring-mse
        transformers-17306-half-mask-row-overflows
    """,
    "swap-variance-correction": "evonorm-4-variance-of-one-pixel",
    "truncate-input": "farm-395-regression-labels-become-integers population-scalenet-relu-zeros",
    "underflow-cast": "transformers-17306-half-mask-row-overflows",
    "unscaled-initialisation": "forum-sigmoid-saturation-wide-matrix",
    "wrong-custom-backward": """
        a3c-logprobs-rebuilt ace-corrector-clamp apex-cast-cache-eval-then-train deepxde-as-tensor-list densetnt-goals2d-detach
        dgunet-loss-torch-tensor-list diffdrr-grid-sample-nearest diffusers5016-text-encoder-lora-flags efficientfi-ste-missing-detach
        encodec-rvq-residual-ste gflownet-logprobs-clone-detached maniskill-sac-alpha-loss-leak optimumgraphcore-from-pretrained-freeze
        peft2099-modules-to-save-parameter pytorch-33545-observer-returns-detached-copy sapt-lora-a-and-b-zero seed-ex2-premature-detach
        simac-term-detach-item sliif-resmlps-numpy-roundtrip tinyllava-vision-tower-no-grad
        transformer-engine-72-no-gradient-in-evaluation-mode truxify-maml-inner-data-update vissl-infonce-all-gather-no-grad
        vitpytorch-extractor-detach
    """,
    "wrong-labels": "trl-1191-every-label-is-ignored",
    "wrong-mask-value": "linformer-19-mask-value-too-large-for-half",
    "wrong-parameter": "a2s2k-same-branch-softmax slime-moe-wrong-weight",
    "wrong-softmax-dim": "labml-ddpm-attention-softmax-axis",
    "wrong-tensor": """
        arcface-sine-sqrt caustics-where-nan e3nn-norm-activation-nan evonorm-4-variance-of-one-pixel
        gliner2-155-clamp-bound-rounds-to-one misicnet-layer2-unused pylate-239-epsilon-vanishes-in-half pytorch-63541-sum-of-a-layer-norm
        pytorch61810-acos-edge transformers-17306-half-mask-row-overflows
    """,
    "zero-hook": """
        ace-corrector-clamp diffdrr-grid-sample-nearest efficientfi-ste-missing-detach encodec-rvq-residual-ste
        maniskill-sac-alpha-loss-leak sapt-lora-a-and-b-zero simac-term-detach-item vissl-infonce-all-gather-no-grad
    """,
    "zero-weight": "sapt-lora-a-and-b-zero",
}
