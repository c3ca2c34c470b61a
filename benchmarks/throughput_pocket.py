"""Measure the speed of ``pocket`` alone: embeddings per second, in float32.

Batch normalisation is folded into the convolutions and the memory format is channels
last. Images are in memory and already prepared. The variants take turns, five times
each after a warm-up. If the machine does other work too, the images per CPU second of
one thread mean more than the images per second.

Run with: python benchmarks/throughput_pocket.py
"""

import os
import time

import numpy as np
import torch
from _frame import write_table
from torch.fx.experimental.optimization import fuse

from sktl.backbones._own_networks import Pocket

REPEATS, N_IMAGES, BATCH_SIZE = 5, 256, 16
SIZES = (32, 64, 96, 160)


@torch.inference_mode()
def embed_all(net, images):
    """Run the network over all images; return seconds and CPU seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    for batch in images.split(BATCH_SIZE):
        net(batch)
    return time.perf_counter() - start, time.process_time() - cpu


def main():
    """Time all variants, print a table, write the JSON."""
    net = Pocket().eval()
    net.head = torch.nn.Identity()
    variants = {
        "eager": (net, torch.contiguous_format),
        "folded, channels last": (
            fuse(net).to(memory_format=torch.channels_last),
            torch.channels_last,
        ),
    }
    measured = {}
    for repeat in range(REPEATS + 1):
        for size in SIZES:
            images = torch.randn(N_IMAGES, 3, size, size)
            for described, (variant, layout) in variants.items():
                x = images.contiguous(memory_format=layout)
                for threads in (1, 2):
                    torch.set_num_threads(threads)
                    seconds = embed_all(variant, x)
                    if repeat:
                        key = (size, described, threads)
                        measured.setdefault(key, []).append(seconds)
    table = []
    for (size, described, threads), seconds in measured.items():
        rates = N_IMAGES / np.array(seconds)
        row = {
            "size": size,
            "variant": described,
            "threads": threads,
            "images_per_second": {
                "median": round(float(np.median(rates[:, 0]))),
                "min": round(float(rates[:, 0].min())),
                "max": round(float(rates[:, 0].max())),
            },
            "images_per_cpu_second_median": round(float(np.median(rates[:, 1]))),
        }
        table.append(row)
        speed = row["images_per_second"]
        print(
            f"{size:>4} px  {described:22}{threads} threads  "
            f"{speed['median']:>5} images/s ({speed['min']}-{speed['max']}), "
            f"{row['images_per_cpu_second_median']} per CPU second"
        )
    write_table(
        "throughput_pocket",
        table,
        ("torch",),
        load_average=os.getloadavg()[0],
        batch_size=BATCH_SIZE,
        repeats=REPEATS,
    )


if __name__ == "__main__":
    main()
