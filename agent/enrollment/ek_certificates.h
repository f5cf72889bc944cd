#ifndef CUPEL_AGENT_ENROLLMENT_EK_CERTIFICATES_H_
#define CUPEL_AGENT_ENROLLMENT_EK_CERTIFICATES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tpm/public_area.h"

namespace cupel::agent {

// The certificate of `ek` and its issuers, in that order, as DER, from
//
// * a file: one certificate in DER, or several in PEM. The first is taken for
//   the EK's, whatever is in it: Enrollee::Create looks;
// * a folder of such files, one for each of many machines: the chain whose
//   first certificate has the key of `ek`. Files that hold no certificate are
//   passed over.
//
// Errors, with the path: those of ReadFile and of Certificate; kNotFound where
// no file of the folder is for this EK.
absl::StatusOr<std::vector<std::vector<uint8_t>>> ReadEkCertificates(
    const std::string& path, const tpm::PublicArea& ek);

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_ENROLLMENT_EK_CERTIFICATES_H_
