// What cupel-agent's subcommands do.
#ifndef CUPEL_AGENT_COMMANDS_COMMANDS_H_
#define CUPEL_AGENT_COMMANDS_COMMANDS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/tpm/identity.h"
#include "agent/tpm/tpm.h"
#include "common/config/agent_config.h"
#include "common/util/agent_id.h"

namespace cupel::agent {

// Connects to the configured TPM, to look at it. Errors of EsysTpm::Open, and
// of reading the endorsement password's file.
absl::StatusOr<std::unique_ptr<Tpm>> OpenTpm(const config::AgentConfig& config);

// The same, to use the machine's keys: what a process of this agent that was
// killed has left in the TPM is removed. The state folder must be there.
absl::StatusOr<std::unique_ptr<Tpm>> OpenTpmForKeys(
    const config::AgentConfig& config);

// Makes the state folder (0700) if it is not there.
absl::Status MakeStateFolder(const config::AgentConfig& config);

// The configured id, or the one that was made at the first call and is kept in
// the state folder. kFailedPrecondition if what is kept there is none.
absl::StatusOr<AgentId> LoadAgentId(const config::AgentConfig& config);

// EK and AK as configured. Errors of PrepareIdentity.
absl::StatusOr<Identity> LoadIdentity(const config::AgentConfig& config,
                                      Tpm& tpm);

// The EK's certificate and its issuers, DER: from the configured file, or the
// TPM's. kNotFound, with the cure, where there is none.
absl::StatusOr<std::vector<std::vector<uint8_t>>> LoadEkCertificates(
    const config::AgentConfig& config, const Identity& identity);

// Each returns the process's exit code: 0, it is as it should be; 1, it is not;
// errors (could not be decided) are statuses.
//
// `json` chooses JSON instead of text.
//
// Prints the agent's id, the Names of its keys, the EK's fingerprint and
// certificate. 1: there is no certificate, so that it can't enrol.
absl::StatusOr<int> ShowIdentity(const config::AgentConfig& config, bool json);
// Replays the local list against the local PCRs, each bank that the TPM has
// allocated (CompareListWithPcrs). 2: a bank could not be compared, which is
// never a pass.
absl::StatusOr<int> SelfTest(const config::AgentConfig& config, bool json);
// Makes the doctor's checks (Examine) and prints what they found, as text or
// JSON. 2: nothing failed, but something could not be checked.
absl::StatusOr<int> RunDoctor(const config::AgentConfig& config, bool json);
// Measures what `command` executes into the configured list and the TPM's PCR
// 10, then runs it; the exit code is the command's.
absl::StatusOr<int> EmulateIma(const config::AgentConfig& config,
                               const std::vector<std::string>& command);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_COMMANDS_COMMANDS_H_
