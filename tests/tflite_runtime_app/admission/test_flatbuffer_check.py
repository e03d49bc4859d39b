"""The check lets our bundles through and nothing else: each fault here is one that LiteRT itself runs, crashes on, or is left to find."""

import dataclasses
import signal
import struct
import subprocess
import sys
import time

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.tflite_runtime_app import tiny_bundle
from tflite_runtime_app.admission import flatbuffer_schema
from tflite_runtime_app.admission.flatbuffer_check import check
from tflite_runtime_app.admission.flatbuffer_schema import INT8, INT32
from tflite_runtime_app.admission.integer_rules import INTEGER
from tflite_runtime_app.admission.operator_rules import Misfit, Node, Operand
from tflite_runtime_app.errors import BundleCorrupt, BundleError, BundleIncompatible


def edited(content: bytes, change) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(model)
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


UNCHECKED = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_content=sys.stdin.buffer.read(), num_threads=1)
interpreter.allocate_tensors()
for name in interpreter.get_signature_list():
    runner = interpreter.get_signature_runner(name)
    runner(**{key: np.zeros(facts["shape"], facts["dtype"]) for key, facts in runner.get_input_details().items()})
"""


def litert_ends_with(content: bytes) -> int:
    """What a process ends with that runs every signature without our check: 0, 1 for an error of LiteRT's, or minus a signal."""
    return subprocess.run([sys.executable, "-c", UNCHECKED], input=content, capture_output=True, check=False).returncode


@pytest.mark.parametrize("two_term", [False, True])
def test_the_tiny_bundle_passes(two_term):
    check(tiny_bundle.build(two_term).flatbuffer)


def test_a_file_of_seven_hundred_operators_takes_a_moment():
    """As many as the embedded model has."""
    model = schema.ModelT()
    model.version, model.subgraphs, model.signatureDefs, model.operatorCodes, model.buffers = 3, [], [], [], [schema.BufferT()]
    graph, random = tiny_bundle.Graph(model), np.random.default_rng(0)
    given = rows = graph.tensor((4, 64), 0.1, 0)
    for _ in range(350):
        more = graph.fully_connected(rows, random.integers(-127, 128, (64, 64), np.int8), graph.tensor((4, 64), 0.1, 0))
        rows = graph.operator("ADD", [rows, more], graph.tensor((4, 64), 0.1, 0), 2, schema.AddOptionsT())
    graph.signature("stage_0", {"image": given}, {"embedding": rows})
    builder = flatbuffers.Builder(1 << 22)
    builder.Finish(model.Pack(builder), b"TFL3")
    content, times = bytes(builder.Output()), []
    for _ in range(3):
        begin = time.process_time()
        check(content)
        times.append(time.process_time() - begin)
    assert min(times) < 0.5


def first(model, code: int):
    """The first subgraph's first operator of that builtin code."""
    return next(o for o in model.subgraphs[0].operators if model.operatorCodes[o.opcodeIndex].builtinCode == code)


RESHAPE, MEAN, FULLY_CONNECTED = 22, 40, 9


def values_of(model, tensor: int, values) -> None:
    buffer = model.buffers[model.subgraphs[0].tensors[tensor].buffer]
    buffer.data = np.frombuffer(np.array(values, np.int32).tobytes(), np.uint8)


def grid(model, **changes) -> None:
    quantization = model.subgraphs[0].tensors[model.subgraphs[0].operators[1].outputs[0]].quantization
    for name, value in changes.items():
        setattr(quantization, name, value)


def outside(model) -> None:
    model.buffers[2].offset, model.buffers[2].size, model.buffers[2].data = (1 << 64) - 8, len(model.buffers[2].data), None


def unmade(model) -> None:
    model.subgraphs[0].operators.reverse()


def no_such_subgraph(model) -> None:
    model.signatureDefs[0].subgraphIndex = 99


def with_metadata(model) -> None:
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"x", 1 << 30
    model.metadata = [entry]


def custom(model) -> None:
    model.operatorCodes[0].customCode = b"mine"


def looped(model) -> None:
    model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = 119, 119


def external(model) -> None:
    model.externalBuffers = [schema.ExternalBufferT()]


def output_is_input(model) -> None:
    model.subgraphs[0].outputs = list(model.subgraphs[0].inputs)


def made_twice(model) -> None:
    operators = model.subgraphs[0].operators
    operators[3].outputs = list(operators[2].outputs)


def weights_short(model) -> None:
    weights = model.subgraphs[0].tensors[first(model, FULLY_CONNECTED).inputs[1]]
    model.buffers[weights.buffer].data = model.buffers[weights.buffer].data[:-1]


def huge(model) -> None:
    model.subgraphs[0].tensors[0].shape = [1 << 15, 1 << 16, 1]


def stringy(model) -> None:
    model.subgraphs[0].tensors[0].type = schema.TensorType.STRING


def sparse(model) -> None:
    model.subgraphs[0].tensors[1].sparsity = schema.SparsityParametersT()


FAULTS = {
    outside: "Buffer table has field 1",
    unmade: "has no value yet",
    no_such_subgraph: "each subgraph should have one signature",
    with_metadata: "Model table has field 6",
    custom: "OperatorCode table has field 1",
    looped: "builtin operator 119",
    external: "Model table has field",
    output_is_input: "puts out what it was given",
    made_twice: "nothing made before",
    weights_short: "its shape .* needs",
    huge: "more than",
    stringy: "expected int8 or int32",
    sparse: "Tensor table has field 6",
    (lambda m: setattr(m.subgraphs[0].tensors[0], "buffer", 10**6)): "has buffer 1000000",
    (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1, 0, 8, 3])): "has shape",
    (lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1] * 9)): "has shape",
    (lambda m: setattr(m.subgraphs[0].tensors[0], "isVariable", True)): "is a variable",
    (lambda m: setattr(m.subgraphs[0], "outputs", [10**6])): "no such tensors",
    (lambda m: setattr(m.subgraphs[0], "inputs", [])): "no such tensors",
    (lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 10**6)): "operator code 1000000",
    (lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [10**6, 1])): "none or has no value",
    (lambda m: setattr(m.subgraphs[0].operators[0], "inputs", [0])): "expected 2 to 2 inputs",
    (lambda m: setattr(m.subgraphs[0].operators[0], "intermediates", [1])): "Operator table has field 8",
    (lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 10**6)): "names inputs",
    (lambda m: setattr(m.signatureDefs[0].inputs[0], "name", None)): "should have names",
    (lambda m: setattr(m.signatureDefs[1], "signatureKey", b"stage_0")): "each its own",
    (lambda m: setattr(m.signatureDefs[1], "signatureKey", b"gate_0\n")): "signatures should have names",
    (lambda m: setattr(m.signatureDefs[1], "signatureKey", b"\xff\xfe")): "string in UTF-8",
    (lambda m: setattr(m, "version", 4)): "schema version 4",
    (lambda m: setattr(m.buffers[0], "data", [1, 2, 3, 4])): "buffer 0",
    (lambda m: grid(m, scale=[0.0])): "not finite and positive",
    (lambda m: grid(m, scale=[float("nan")])): "not finite and positive",
    (lambda m: grid(m, zeroPoint=[300])): "zero point outside",
    (lambda m: grid(m, zeroPoint=[])): "1 scales and 0 zero points",
    (lambda m: grid(m, scale=[], zeroPoint=[])): "without a scale",
    (lambda m: grid(m, quantizedDimension=7)): "along dimension 7",
    (lambda m: grid(m, scale=[1.0, 2.0], zeroPoint=[0, 0])): "a scale for each of its channels",
    (lambda m: values_of(m, first(m, MEAN).inputs[1], [1 << 20])): "axes",
    (lambda m: values_of(m, first(m, RESHAPE).inputs[1], [7, 48])): "do not have shape",
    (lambda m: values_of(m, first(m, RESHAPE).inputs[1], [48, 4])): "its output is declared",
    (lambda m: setattr(first(m, FULLY_CONNECTED).builtinOptions, "weightsFormat", 1)): "plain int8",
    (lambda m: setattr(first(m, FULLY_CONNECTED).builtinOptions, "fusedActivationFunction", 4)): "fused activation 4",
    (lambda m: setattr(first(m, MEAN), "builtinOptionsType", 28)): "options of kind SubOptions",
    (lambda m: setattr(first(m, MEAN), "builtinOptionsType", 5)): "builtin_options_type 5",
    (lambda m: setattr(first(m, MEAN), "builtinOptionsType", 0)): "builtin_options_type 0",
}


@pytest.mark.parametrize(("change", "message"), FAULTS.items(), ids=list(FAULTS.values()))
def test_a_model_that_says_something_else_is_refused_in_one_line(tiny, change, message):
    with pytest.raises(BundleError, match=message) as refusal:
        check(edited(tiny.flatbuffer, change))
    assert len(str(refusal.value).splitlines()) == 1
    assert "convert build" in str(refusal.value)


def test_litert_alone_dies_or_reads_what_is_not_there(tiny):
    """Why the check is there: what LiteRT 2.3 does with three of the faults above."""
    assert litert_ends_with(tiny.flatbuffer) == 0
    assert litert_ends_with(edited(tiny.flatbuffer, no_such_subgraph)) == -signal.SIGSEGV
    for runs in (outside, unmade):  # memory before the file; memory that nothing was written to
        assert litert_ends_with(edited(tiny.flatbuffer, runs)) == 0


def test_offsets_that_leave_the_file_are_found(tiny):
    """Every word of the structure, pointed far outside: refused, or one of the values that any number is right for."""
    content, accepted = bytearray(tiny.flatbuffer), 0
    places = range(8, len(content) - 3, 12)
    for place in places:
        (before,) = struct.unpack_from("<I", content, place)
        struct.pack_into("<I", content, place, 0x7FFFFFF0)
        try:
            check(bytes(content))
            accepted += 1
        except BundleError:
            pass
        struct.pack_into("<I", content, place, before)
    assert accepted < len(places) / 2  # weights, padding, names, the options that shape tensors override


def test_what_is_cut_short_or_no_model_is_corrupt(tiny):
    for length in (0, 3, 8, 40, len(tiny.flatbuffer) // 2):
        with pytest.raises(BundleCorrupt):
            check(tiny.flatbuffer[:length])
    with pytest.raises(BundleCorrupt, match="TFL3"):
        check(b"\0" * 100)


def test_a_table_named_over_and_over_takes_no_hours():
    """Fifty bytes of tables, named two hundred thousand times by one list."""
    builder = flatbuffers.Builder(1 << 23)
    schema.OperatorCodeStart(builder)
    code = schema.OperatorCodeEnd(builder)
    schema.ModelStartOperatorCodesVector(builder, 200_000)
    for _ in range(200_000):
        builder.PrependUOffsetTRelative(code)
    codes = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddOperatorCodes(builder, codes)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(BundleIncompatible, match="at most 100000 tables"):
        check(bytes(builder.Output()))


def test_numbers_are_the_schemas_own():
    codes, options = vars(schema.BuiltinOperator), vars(schema.BuiltinOptions)
    assert {codes[name] for name in INTEGER.rules} == set(INTEGER.operators)
    assert all(codes[name] == number for number, name in INTEGER.operators.items())
    assert all(options[kind.__name__] == number for number, kind in flatbuffer_schema.OPTIONS.items())
    assert (vars(schema.TensorType)["INT8"], vars(schema.TensorType)["INT32"]) == (INT8, INT32)


def operand(*shape: int, scale: float = 0.1, zero_point: int = 0) -> Operand:
    return Operand(shape, INT8, scale, None, zero_point=zero_point)


def constant(*values: int) -> Operand:
    return Operand((len(values),), INT32, None, np.array(values, np.int32))


def weights(*shape: int) -> Operand:
    return Operand(shape, INT8, 0.1, np.ones(shape, np.int8).reshape(-1))


S = flatbuffer_schema
SHAPES = [
    ("ADD", S.AddOptions(), [operand(2, 1, 4), operand(3, 1)], (2, 3, 4)),
    ("SUB", S.SubOptions(), [operand(), operand(3)], (3,)),
    ("MUL", S.MulOptions(), [operand(5), operand(5)], (5,)),
    ("MAXIMUM", S.MaximumMinimumOptions(), [operand(2, 3), operand(3)], (2, 3)),
    ("GELU", S.GeluOptions(), [operand(2, 3)], (2, 3)),
    ("LOGISTIC", None, [operand(2, 3)], (2, 3)),
    ("ELU", None, [operand(2, 3)], (2, 3)),
    ("LOG", None, [operand(2, 3)], (2, 3)),
    ("SOFTMAX", S.SoftmaxOptions(beta=1.0), [operand(1, 2, 3, 3)], (1, 2, 3, 3)),
    ("FULLY_CONNECTED", S.FullyConnectedOptions(), [operand(2, 3, 8), weights(5, 8), None], (6, 5)),
    ("FULLY_CONNECTED", S.FullyConnectedOptions(keep_num_dims=True), [operand(2, 3, 8), weights(5, 8)], (2, 3, 5)),
    ("BATCH_MATMUL", S.BatchMatMulOptions(), [operand(2, 3, 4), operand(2, 4, 5)], (2, 3, 5)),
    ("BATCH_MATMUL", S.BatchMatMulOptions(adj_y=True), [operand(1, 2, 3, 4), operand(1, 2, 5, 4)], (1, 2, 3, 5)),
    ("BATCH_MATMUL", S.BatchMatMulOptions(adj_x=True), [operand(4, 3), operand(4, 5)], (3, 5)),
    ("RESHAPE", None, [operand(2, 6), constant(3, -1)], (3, 4)),
    ("TRANSPOSE", None, [operand(2, 3, 4), constant(2, 0, 1)], (4, 2, 3)),
    ("CONCATENATION", S.ConcatenationOptions(axis=-1), [operand(2, 3), operand(2, 1)], (2, 4)),
    ("MEAN", S.ReducerOptions(), [operand(2, 3, 4), constant(-1)], (2, 3)),
    ("MEAN", S.ReducerOptions(keep_dims=True), [operand(2, 3, 4), constant(1)], (2, 1, 4)),
    ("REDUCE_MAX", S.ReducerOptions(), [operand(2, 3, 4), constant(-1, 0)], (3,)),
    ("REDUCE_MAX", S.ReducerOptions(keep_dims=True), [operand(2, 3, 4), constant(2)], (2, 3, 1)),
    ("STRIDED_SLICE", S.StridedSliceOptions(), [operand(5, 7), constant(1, -6), constant(4, 7), constant(1, 2)], (3, 3)),
    ("STRIDED_SLICE", S.StridedSliceOptions(begin_mask=3, end_mask=2), [operand(5, 7), *[constant(1, 1)] * 3], (1, 7)),
    (
        "STRIDED_SLICE",
        S.StridedSliceOptions(shrink_axis_mask=1),
        [operand(5, 7), constant(4, 0), constant(5, 7), constant(1, 1)],
        (7,),
    ),
]


@pytest.mark.parametrize(("name", "options", "inputs", "shape"), SHAPES)
def test_the_shape_that_an_operator_gives(name, options, inputs, shape):
    assert INTEGER.output_shape(name, Node(options, tuple(inputs), operand(*shape))) == shape


@pytest.mark.parametrize(
    ("name", "options", "inputs"),
    [
        ("ADD", S.AddOptions(), [operand(2), operand(3)]),
        ("ADD", S.AddOptions(), [operand(2, scale=1e6), operand(2)]),
        ("MUL", S.MulOptions(), [operand(*[1] * 5), operand(1)]),
        ("SOFTMAX", S.SoftmaxOptions(beta=0.0), [operand(2, 3)]),
        ("FULLY_CONNECTED", S.FullyConnectedOptions(), [operand(2, 7), weights(5, 8)]),
        ("FULLY_CONNECTED", S.FullyConnectedOptions(), [operand(2, 8), operand(5, 8)]),
        ("FULLY_CONNECTED", S.FullyConnectedOptions(), [operand(2, 8), weights(5, 8), constant(1, 2)]),
        ("BATCH_MATMUL", S.BatchMatMulOptions(), [operand(2, 3, 4), operand(2, 5, 4)]),
        ("BATCH_MATMUL", S.BatchMatMulOptions(), [operand(2, 3, 4), operand(3, 4, 4)]),
        ("RESHAPE", None, [operand(2, 6), constant(-1, -1)]),
        ("RESHAPE", None, [operand(2, 6), constant(5, -1)]),
        ("TRANSPOSE", None, [operand(2, 3), constant(0, 0)]),
        ("TRANSPOSE", None, [operand(2, 3), constant(0, 2)]),
        ("CONCATENATION", S.ConcatenationOptions(axis=2), [operand(2, 3), operand(2, 1)]),
        ("CONCATENATION", S.ConcatenationOptions(axis=1), [operand(2, 3), operand(3, 1)]),
        ("ELU", None, [operand(2, 3, scale=1e9)]),
        ("ELU", None, [operand(2, 3), operand(2, 3)]),
        ("ELU", S.GeluOptions(), [operand(2, 3)]),
        ("ELU", None, [constant(2, 3)]),
        ("LOG", None, [operand(2, 3), operand(2, 3)]),
        ("LOG", None, [constant(2, 3)]),
        ("LOG", S.GeluOptions(), [operand(2, 3)]),
        ("REDUCE_MAX", S.ReducerOptions(), [operand(3), constant(1)]),
        ("REDUCE_MAX", S.ReducerOptions(), [operand(3), constant(-2)]),
        ("REDUCE_MAX", S.ReducerOptions(), [operand(3), constant(0, 0)]),
        ("REDUCE_MAX", S.ReducerOptions(), [operand(3), constant()]),
        ("REDUCE_MAX", S.ReducerOptions(), [operand(3), operand(1)]),
        ("REDUCE_MAX", S.ReducerOptions(), [operand(3, scale=0.2), constant(0)]),
        ("REDUCE_MAX", S.ReducerOptions(), [operand(3, zero_point=1), constant(0)]),
        ("REDUCE_MAX", None, [operand(3), constant(0)]),
        ("MEAN", S.ReducerOptions(), [operand(2, 3), constant(0, 0)]),
        ("MEAN", S.ReducerOptions(), [operand(2, 3), constant()]),
        ("STRIDED_SLICE", S.StridedSliceOptions(), [operand(5), constant(4), constant(2), constant(1)]),
        ("STRIDED_SLICE", S.StridedSliceOptions(), [operand(5), constant(0), constant(5), constant(0)]),
        ("STRIDED_SLICE", S.StridedSliceOptions(ellipsis_mask=1), [operand(5), constant(0), constant(5), constant(1)]),
        ("STRIDED_SLICE", S.StridedSliceOptions(shrink_axis_mask=1), [operand(5), constant(9), constant(5), constant(1)]),
        ("GELU", None, [operand(2)]),
        ("RESHAPE", None, [operand(2), operand(1)]),
    ],
)
def test_operators_that_no_bundle_has(name, options, inputs):
    with pytest.raises(Misfit):
        INTEGER.output_shape(name, Node(options, tuple(inputs), operand(2, 3)))


@pytest.mark.parametrize("name", ["ELU", "LOG"])
def test_a_table_whose_values_leave_int32_is_refused(name):
    """Beyond that C++ says nothing of what LiteRT's table holds; the steps below and above the bound."""
    for scale, fits in ((1e-3, True), (1e-5, True), (1e-11, False), (1e-37, False)):
        given = operand(2, scale=0.05)
        node = Node(None, (given,), operand(2, scale=scale, zero_point=-128))
        if fits:
            assert INTEGER.output_shape(name, node) == (2,)
        else:
            with pytest.raises(Misfit):
                INTEGER.output_shape(name, node)


@pytest.mark.parametrize(("name", "options", "inputs", "shape"), SHAPES)
def test_litert_computes_the_same_shape(name, options, inputs, shape):
    """One operator whose output is declared as a single number: LiteRT's kernel says what it is."""
    model = schema.ModelT()
    model.version, model.subgraphs, model.signatureDefs, model.operatorCodes, model.buffers = 3, [], [], [], [schema.BufferT()]
    graph = tiny_bundle.Graph(model)
    places = []
    for given in inputs:
        data = None if given is None or given.values is None else given.values.reshape(given.shape)
        places.append(-1 if given is None else graph.tensor(given.shape, given.scale, 0, data))
    fixed = name in ("SOFTMAX", "LOGISTIC")  # these kernels know one grid
    output = graph.tensor((1,), 1 / 256 if fixed else 0.1, -128 if fixed else 0)
    graph.operator(name, places, output, 1, schema.ReshapeOptionsT() if options is None else as_in_the_schema(options))
    model.operatorCodes[0].deprecatedBuiltinCode = min(model.operatorCodes[0].builtinCode, 127)  # newer ones say 127 there
    if options is None:
        operator = model.subgraphs[0].operators[0]
        operator.builtinOptions, operator.builtinOptionsType = None, 0
    computed = [place for place, given in zip(places, inputs, strict=True) if given is not None and given.values is None]
    model.subgraphs[0].inputs, model.subgraphs[0].outputs = computed, [output]
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=bytes(builder.Output()), num_threads=1, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    assert tuple(interpreter.get_output_details()[0]["shape"]) == shape


def as_in_the_schema(options):
    """The generated class's object with the same values: keep_num_dims there is keepNumDims."""
    made = getattr(schema, f"{type(options).__name__}T")()
    for field in dataclasses.fields(options):
        head, *rest = {"fused_activation": "fused_activation_function"}.get(field.name, field.name).split("_")
        name = head + "".join(word.capitalize() for word in rest)
        assert hasattr(made, name)
        setattr(made, name, getattr(options, field.name))
    return made
