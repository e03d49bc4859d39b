// An example of clip_rescue_run_stage over TensorFlow Lite Micro: one arena, in which the stages take turns.
//
// An interpreter is made for every stage of every picture; that costs a walk over the operators, no copy of the weights. With memory for
// the sum of all arenas, make the interpreters once instead. AddEthosU does nothing on a part without an Ethos-U.
#include <cstring>

#include "clip_rescue.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

constexpr int kOperators = @OPERATORS@;

alignas(16) uint8_t arena[CLIP_RESCUE_ARENA_BYTES];

const tflite::MicroMutableOpResolver<kOperators>& Resolver() {
  static tflite::MicroMutableOpResolver<kOperators> resolver;
  static bool filled = false;
  if (!filled) {
@ADD@
    filled = true;
  }
  return resolver;
}

}  // namespace

extern "C" int clip_rescue_run_stage(int stage, const int8_t* in[], int8_t* out[]) {
  const tflite::Model* model = tflite::GetModel(clip_rescue_stages[stage].data);
  tflite::MicroInterpreter interpreter(model, Resolver(), arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;  // the arena is too small, or an operator is missing
  for (size_t k = 0; k < interpreter.inputs_size(); k++) {
    std::memcpy(interpreter.input(k)->data.int8, in[k], interpreter.input(k)->bytes);
  }
  if (interpreter.Invoke() != kTfLiteOk) return 2;
  for (size_t k = 0; k < interpreter.outputs_size(); k++) {
    std::memcpy(out[k], interpreter.output(k)->data.int8, interpreter.output(k)->bytes);
  }
  return 0;
}
