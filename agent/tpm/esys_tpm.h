#ifndef CUPEL_AGENT_TPM_ESYS_TPM_H_
#define CUPEL_AGENT_TPM_ESYS_TPM_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/tpm/tpm.h"
#include "common/util/secret.h"

namespace cupel::agent {

struct EsysOptions {
  // As tss2's TCTI loader takes it: "device:/dev/tpmrm0",
  // "swtpm:host=127.0.0.1,port=2321".
  std::string tcti = {};
  // The endorsement hierarchy's password; empty on nearly every machine.
  Secret endorsement_password = {};
  // A file that the processes of one agent share, made if it is not there:
  // they use the TPM one after another, and the next one removes the session
  // that a killed one has left. Empty: none.
  std::string session_note_file = {};
};

// A TPM through tpm2-tss.
//
// No resource manager is assumed. Between two calls nothing of this object is
// in the TPM: the AK waits outside as a saved context and is loaded for each
// use. Within a call there are at most two transient objects, EK and AK, and
// one session. A process that is killed within a call leaves them. UseAk
// removes objects whose Name is the AK's or its EK's, CreateAk those that are
// the EK, and each call the session that the file of EsysOptions names; nothing
// else is touched.
//
// After an I/O error the connection is made anew by the next call.
class EsysTpm : public Tpm {
 public:
  // Connects once, so that a wrong configuration shows at the start. The
  // errors are those of every call, see Tpm, and those of making the file.
  static absl::StatusOr<std::unique_ptr<EsysTpm>> Open(EsysOptions options);
};

// Keeps tpm2-tss from writing to standard error what is returned as a status
// anyway, unless the environment's TSS2_LOG says otherwise. Changes the
// environment: call it in main, before there are threads.
void SilenceTssLog();

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_ESYS_TPM_H_
