// The messages of an enrolment, as agent and verifier handle them: those of
// proto/cupel/v1/attestation.proto, field by field.
#ifndef CUPEL_COMMON_TPM_ENROLLMENT_MESSAGES_H_
#define CUPEL_COMMON_TPM_ENROLLMENT_MESSAGES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace cupel::tpm {

struct BeginEnrollment {
  std::vector<uint8_t> agent_id;  // 16 bytes
  // DER: the EK's, then its issuers as far as the agent has them.
  std::vector<std::vector<uint8_t>> ek_certificates;
  std::string ek_template;         // "L-1"
  std::vector<uint8_t> ak_public;  // TPMT_PUBLIC
  std::string enrollment_token;    // empty without one
  std::string agent_version;
};

struct EnrollmentChallenge {
  std::vector<uint8_t> credential_blob;   // TPM2B_ID_OBJECT
  std::vector<uint8_t> encrypted_secret;  // TPM2B_ENCRYPTED_SECRET
  std::vector<uint8_t> cookie;
};

struct CompleteEnrollment {
  std::vector<uint8_t> cookie;
  std::vector<uint8_t> proof;
};

}  // namespace cupel::tpm

#endif  // CUPEL_COMMON_TPM_ENROLLMENT_MESSAGES_H_
