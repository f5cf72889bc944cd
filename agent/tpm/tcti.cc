#include "agent/tpm/tcti.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace cupel::agent {

std::string TctiPath(absl::string_view tcti) {
  if (absl::ConsumePrefix(&tcti, "device:") ||
      absl::ConsumePrefix(&tcti, "swtpm:path=")) {
    return std::string(tcti);
  }
  return "";
}

bool IsTpmDevice(absl::string_view tcti) {
  return absl::StartsWith(tcti, "device:");
}

}  // namespace cupel::agent
