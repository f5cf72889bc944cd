// What the log says of an appraisal: the lines that people who come from other
// verifiers look for.
#ifndef CUPEL_VERIFIER_RPC_ATTESTATION_LOG_H_
#define CUPEL_VERIFIER_RPC_ATTESTATION_LOG_H_

#include "common/appraisal/appraise.h"
#include "common/util/agent_id.h"
#include "common/util/log.h"
#include "verifier/store/store.h"

namespace cupel::verifier {

void LogAppraisalStart(const AgentId& agent, Logger& log);
// A line for each failure, up to a number of them, and one with the counts.
void LogAppraisal(const AgentId& agent, const appraisal::Appraisal& appraisal,
                  Logger& log);
// A change of state, after it was stored. That to FAILED is told in Keylime's
// words, "agent UUID failed, stopping polling", and what they leave out in a
// field.
void LogState(const AgentId& agent, AgentState previous, AgentState state,
              Logger& log);

}  // namespace cupel::verifier

#endif  // CUPEL_VERIFIER_RPC_ATTESTATION_LOG_H_
