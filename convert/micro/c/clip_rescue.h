/* Staged inference of a CLIP image tower on a microcontroller: stages run until a gate stops, and nothing after that is computed.
 *
 * C99 without floating point. What is computed here equals clip-rescue's Python reference to the bit on any compiler: integers only,
 * no shift of a negative number, no overflow. Not reentrant: buffers are static, about CLIP_RESCUE_HIDDEN_BYTES twice.
 */
#ifndef CLIP_RESCUE_H
#define CLIP_RESCUE_H

#include <stdint.h>

#include "clip_rescue_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How many labels an answer names. */
#define CLIP_RESCUE_TOP (CLIP_RESCUE_LABELS < 5 ? CLIP_RESCUE_LABELS : 5)

typedef struct {
  int stage;                                   /* where the picture left, from 0 */
  int none;                                    /* 1 when even the best label is too far away to be believed */
  int gates;                                   /* how many gates were asked */
  int8_t gate_score[CLIP_RESCUE_STAGES];       /* what each of them said: it stops at clip_rescue_gates[k].threshold */
  int32_t label[CLIP_RESCUE_TOP];              /* the best labels, best first: clip_rescue_names[label[0]] */
  int32_t score[CLIP_RESCUE_TOP];              /* int8 embedding times int8 label */
  uint32_t probability[CLIP_RESCUE_TOP];       /* share of the softmax over all labels, in 2^-24 */
} clip_rescue_answer;

/* Yours to write, over TensorFlow Lite Micro (tflm_stages.cc shows it): run stage `stage`. 0 when it ran.
 *
 * in[0]  the picture, CLIP_RESCUE_IMAGE_BYTES, for stage 0; for the others what the stage before put out as `hidden`
 * in[1]  `hidden_lo` where CLIP_RESCUE_INPUTS is 2
 * out[0] the embedding, CLIP_RESCUE_EMBEDDING bytes; of the last stage nothing else
 * out[1] the variance, one byte; out[2] `hidden`; out[3] `hidden_lo` where CLIP_RESCUE_INPUTS is 2
 *
 * out[2] and in[0] may be the same buffer, and so may out[3] and in[1]: read all inputs before anything is written.
 */
int clip_rescue_run_stage(int stage, const int8_t *in[], int8_t *out[]);

/* A pixel byte b of the picture, height x width x 3 (red, green, blue), enters as b - 128. 0 when `answer` holds the answer, else what
 * clip_rescue_run_stage gave. */
int clip_rescue_classify(const int8_t *image, clip_rescue_answer *answer);

#ifdef __cplusplus
}
#endif

#endif
