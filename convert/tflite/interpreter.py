"""LiteRT's interpreter as the workshop looks into it."""

from __future__ import annotations

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from convert.support.quiet import quiet


def preserving_interpreter(content: bytes) -> Interpreter:
    """An interpreter that keeps every intermediate tensor; LiteRT's plain kernels, since XNNPACK keeps none."""
    with quiet():  # it warns that this takes memory
        return Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
