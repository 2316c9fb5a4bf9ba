"""Triton's kernels on a machine without a GPU: importing this first makes its interpreter run them, in numpy.

The interpreter multiplies the bit patterns of bfloat16 as if they were integers (its `create_dot`, in Triton 3.7), so
they are made float32 before; products of two bfloat16 are exact there, as on a GPU.
"""

import os
from typing import Any

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

if DEVICE.type == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"

    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    create_dot = interpreter.InterpreterBuilder.create_dot

    def widened(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return interpreter.TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def dot(self: Any, a: Any, b: Any, *others: Any) -> Any:
        return create_dot(self, widened(a), widened(b), *others)

    interpreter.InterpreterBuilder.create_dot = dot
