#include "tenant/tenant_defaults.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/util/escape.h"
#include "common/util/status_context.h"
#include "common/util/status_macros.h"

namespace cupel::tenant {

absl::Status ParseEndpoint(absl::string_view text, std::string& host,
                           uint16_t& port) {
  const auto refuse = [&] {
    return absl::InvalidArgumentError(absl::StrCat(
        Quoted(text, 200), " is no HOST, HOST:PORT or [IPv6]:PORT"));
  };
  absl::string_view name = text;
  absl::string_view digits;
  if (!text.empty() && text.front() == '[') {
    const size_t end = text.find(']');
    if (end == absl::string_view::npos) return refuse();
    name = text.substr(1, end - 1);
    const absl::string_view rest = text.substr(end + 1);
    if (!rest.empty() && (rest.front() != ':' || rest.size() == 1)) {
      return refuse();
    }
    digits = rest.empty() ? rest : rest.substr(1);
  } else if (std::ranges::count(text, ':') == 1) {
    const size_t colon = text.find(':');
    name = text.substr(0, colon);
    digits = text.substr(colon + 1);
    if (digits.empty()) return refuse();
  }
  // gRPC would take "dns:" and "unix:" names, and percent signs, its own way.
  const bool plain = !name.empty() && std::ranges::all_of(name, [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
           c == '-' || c == '_' || c == ':';
  });
  uint32_t number = port;
  if (!plain || (!digits.empty() && !absl::SimpleAtoi(digits, &number)) ||
      number == 0 || number > std::numeric_limits<uint16_t>::max()) {
    return refuse();
  }
  host = std::string(name);
  port = static_cast<uint16_t>(number);
  return absl::OkStatus();
}

absl::StatusOr<TenantDefaults> DefaultsFromEnvironment(
    absl::FunctionRef<const char*(const char*)> variable) {
  TenantDefaults defaults;
  if (const char* value = variable("CUPEL_TENANT_VERIFIER")) {
    CUPEL_RETURN_IF_ERROR(
        WithContext(ParseEndpoint(value, defaults.host, defaults.port),
                    "CUPEL_TENANT_VERIFIER"));
  }
  const auto text = [&](const char* name, std::string& member) {
    if (const char* value = variable(name)) member = value;
  };
  text("CUPEL_TENANT_CA_FILE", defaults.ca_file);
  text("CUPEL_TENANT_CERTIFICATE", defaults.certificate);
  text("CUPEL_TENANT_KEY", defaults.key);
  text("CUPEL_TENANT_ALLOWLIST", defaults.allowlist);
  text("CUPEL_TENANT_IMA_EXCLUDELIST", defaults.ima_excludelist);
  text("CUPEL_TENANT_BOOT", defaults.boot);
  if (const char* value = variable("CUPEL_TENANT_DEFAULT_POLICIES")) {
    defaults.default_policies = absl::StrSplit(value, ',', absl::SkipEmpty());
  }
  if (const char* value = variable("CUPEL_TENANT_TIMEOUT")) {
    if (!absl::ParseDuration(value, &defaults.timeout) ||
        defaults.timeout < absl::Milliseconds(100) ||
        defaults.timeout > absl::Hours(1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("CUPEL_TENANT_TIMEOUT: ", Quoted(value),
                       " is no duration from 100ms to 1h"));
    }
  }
  if (const char* value = variable("CUPEL_TENANT_TRUST_ON_FIRST_USE")) {
    const absl::string_view word = value;
    if (word != "true" && word != "false") {
      return absl::InvalidArgumentError(
          absl::StrCat("CUPEL_TENANT_TRUST_ON_FIRST_USE: ", Quoted(word),
                       " is neither true nor false"));
    }
    defaults.trust_on_first_use = word == "true";
  }
  return defaults;
}

}  // namespace cupel::tenant
