#!/usr/bin/env python3
"""Writes the weights of LPIPS, version 0.1, as a .safetensors file for dreamroad (model/lpips.h names the tensors).

    lpips_weights.py alex lpips_alex.safetensors                 # 10 MB; vgg: 59 MB
    lpips_weights.py vgg lpips_vgg.safetensors --trunk vgg16-397923af.pth

Needs the packages lpips, torchvision and safetensors. The lpips package holds the weights of its heads; those of the
trunk, trained on ImageNet, are fetched by torchvision, or read from a checkpoint of torchvision's own (--trunk).
"""

import argparse
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=("alex", "vgg"), help="the trunk: AlexNet or VGG16")
    parser.add_argument("out", help="the file to write")
    parser.add_argument("--trunk", metavar="FILE", help="torchvision's checkpoint of that network")
    options = parser.parse_args()
    try:
        import lpips
        import torch
        from safetensors.torch import save_file
    except ImportError as e:
        print(f"lpips_weights: {e}; pip install lpips torchvision safetensors", file=sys.stderr)
        return 2

    model = lpips.LPIPS(net=options.net, version="0.1", pnet_rand=options.trunk is not None, verbose=False)
    if options.trunk:
        trunk = torch.load(options.trunk, map_location="cpu", weights_only=True)
        for name, tensor in model.net.state_dict().items():
            source = "features." + name.split(".", 1)[1]  # slice2.3.weight is features.3.weight
            if source not in trunk or trunk[source].shape != tensor.shape:
                print(f"lpips_weights: {options.trunk}: no {source} as {options.net} has it", file=sys.stderr)
                return 2
            tensor.copy_(trunk[source])
    # lins.N repeat linN; shift and scale of the image are constants of the metric.
    kept = {
        name: tensor.detach().float().contiguous()
        for name, tensor in model.state_dict().items()
        if name.startswith(("net.", "lin")) and not name.startswith("lins.")
    }
    save_file(kept, options.out, {"lpips": "0.1", "net": options.net})
    print(f"{options.out}: {len(kept)} tensors, {sum(t.numel() for t in kept.values())} weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
