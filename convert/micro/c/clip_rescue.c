/* See clip_rescue.h. The formulas are those of convert/micro/arithmetic.py, which a test holds this file to. */
#include "clip_rescue.h"

static int8_t hidden[CLIP_RESCUE_HIDDEN_BYTES];
#if CLIP_RESCUE_INPUTS == 2
static int8_t hidden_lo[CLIP_RESCUE_HIDDEN_BYTES];
#endif
static int8_t embedding[CLIP_RESCUE_EMBEDDING];
static int32_t scores[CLIP_RESCUE_LABELS];

/* floor(value / 2^bits), also of negative values, which C99 leaves open. */
static int64_t shifted(int64_t value, int bits) {
  const int64_t one = (int64_t)1 << bits;
  return value >= 0 ? value / one : -((-value + one - 1) / one);
}

static int8_t clipped(int64_t value, int32_t least) {
  return (int8_t)(value < least ? least : value > 127 ? 127 : value);
}

/* floor of the square root. */
static uint64_t root_of(uint64_t value) {
  uint64_t root = 0, bit = (uint64_t)1 << 62;
  while (bit > value) bit >>= 2;
  for (; bit != 0; bit >>= 2) {
    if (value >= root + bit) {
      value -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return root;
}

/* 2^-exponent in 2^-30; `exponent` is in 2^-16. */
static uint64_t exponential(uint64_t exponent) {
  const uint64_t whole = exponent >> 16, place = (exponent & 0xFFFF) >> 10, rest = exponent & 0x3FF;
  const uint64_t here = clip_rescue_powers[place], next = clip_rescue_powers[place + 1];
  return whole > 30 ? 0 : (here - (((here - next) * rest) >> 10)) >> whole;
}

/* Scores of all labels; gives |embedding| in 2^-16. */
static uint64_t score_labels(int32_t zero) {
  uint64_t square = 0, root;
  int label, i;
  for (i = 0; i < CLIP_RESCUE_EMBEDDING; i++) {
    const int32_t value = embedding[i] - zero;
    square += (uint64_t)(value * value);
  }
  for (label = 0; label < CLIP_RESCUE_LABELS; label++) {
    const int8_t *row = clip_rescue_labels[label];
    int32_t sum = 0;
    for (i = 0; i < CLIP_RESCUE_EMBEDDING; i++) sum += (embedding[i] - zero) * row[i];
    scores[label] = sum;
  }
  root = root_of(square << 32);
  return root > 0 ? root : 1;
}

/* The best labels, best first, of equals the one that stands first. */
static void rank_labels(clip_rescue_answer *answer) {
  int filled = 0, label;
  for (label = 0; label < CLIP_RESCUE_LABELS; label++) {
    int place = filled;
    while (place > 0 && scores[label] > answer->score[place - 1]) place--;
    if (place < CLIP_RESCUE_TOP) {
      int k = filled < CLIP_RESCUE_TOP ? filled++ : filled - 1;
      for (; k > place; k--) {
        answer->label[k] = answer->label[k - 1];
        answer->score[k] = answer->score[k - 1];
      }
      answer->label[place] = label;
      answer->score[place] = scores[label];
    }
  }
}

static uint64_t weight_of(int32_t best, int32_t score, uint64_t root) {
  return exponential((uint64_t)((int64_t)best - score) * CLIP_RESCUE_SHARPNESS / root);
}

/* Shares of the best labels. */
static void share_labels(clip_rescue_answer *answer, uint64_t root) {
  uint64_t total = 0;
  int k;
  for (k = 0; k < CLIP_RESCUE_LABELS; k++) total += weight_of(answer->score[0], scores[k], root);
  for (k = 0; k < CLIP_RESCUE_TOP; k++) {
    answer->probability[k] = (uint32_t)((weight_of(answer->score[0], answer->score[k], root) << 24) / total);
  }
}

static void run_layer(const clip_rescue_layer *layer, const int8_t *in, int8_t *out) {
  int row, column;
  for (row = 0; row < layer->outputs; row++) {
    int32_t sum = layer->bias[row];
    for (column = 0; column < layer->inputs; column++) {
      sum += layer->weights[row * layer->inputs + column] * (in[column] - layer->input_zero);
    }
    out[row] = clipped(
        layer->output_zero + shifted((int64_t)sum * layer->multiplier + ((int64_t)1 << (30 - layer->shift)), 31 - layer->shift),
        layer->least);
  }
}

/* The gate's score for the features of this exit: confidence, margin, variance. */
static int8_t ask_gate(const clip_rescue_gate *gate, const clip_rescue_answer *answer, int8_t variance) {
  int8_t codes[2][CLIP_RESCUE_GATE_WIDTH];
  int64_t values[3];
  int k;
  values[0] = answer->probability[0];
#if CLIP_RESCUE_LABELS > 1
  values[1] = (int64_t)answer->probability[0] - answer->probability[1];
#else
  values[1] = answer->probability[0];
#endif
  values[2] = variance - gate->variance_zero;
  for (k = 0; k < 3; k++) {
    codes[0][k] = clipped(shifted(gate->slope[k] * values[k] + gate->offset[k] + ((int64_t)1 << 39), 40), -128);
  }
  for (k = 0; k < gate->layers; k++) run_layer(&gate->layer[k], codes[k % 2], codes[(k + 1) % 2]);
  return codes[gate->layers % 2][0];
}

int clip_rescue_classify(const int8_t *image, clip_rescue_answer *answer) {
  uint64_t root = 1;
  int stage;
  answer->gates = 0;
  for (stage = 0; stage < CLIP_RESCUE_STAGES; stage++) {
    int8_t variance = 0;
    const int8_t *in[CLIP_RESCUE_INPUTS];
    int8_t *out[2 + CLIP_RESCUE_INPUTS];
    int failed;
    in[0] = stage == 0 ? image : hidden;
    out[0] = embedding;
    out[1] = &variance;
    out[2] = hidden;
#if CLIP_RESCUE_INPUTS == 2
    in[1] = hidden_lo;
    out[3] = hidden_lo;
#endif
    failed = clip_rescue_run_stage(stage, in, out);
    if (failed) return failed;
    root = score_labels(clip_rescue_embedding_zero[stage]);
    rank_labels(answer);
    share_labels(answer, root);
    answer->stage = stage;
    if (stage < CLIP_RESCUE_GATES) {
      answer->gate_score[stage] = ask_gate(&clip_rescue_gates[stage], answer, variance);
      answer->gates = stage + 1;
      if (answer->gate_score[stage] >= clip_rescue_gates[stage].threshold) break;
    }
  }
  answer->none = (int64_t)answer->score[0] * ((int64_t)1 << 32) < CLIP_RESCUE_NONE_LIMIT * (int64_t)root;
  return 0;
}
