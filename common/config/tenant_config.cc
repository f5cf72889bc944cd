#include "common/config/tenant_config.h"

#include "common/util/status_macros.h"

namespace cupel::config {

const std::vector<Option<TenantConfig>>& TenantOptions() {
  using C = TenantConfig;
  static const auto* const options = new std::vector<Option<C>>{
      Section("Verifier",
              MakeOption("verifier", &C::verifier,
                         HostAndMaybePort(TenantConfig().verifier.port),
                         "The verifier, by the name or address that its "
                         "certificate has, and its\nport for operators.")),
      MakeOption("ca_file", &C::ca_file, Path(),
                 "The CAs (PEM) that may vouch for it."),
      MakeOption("certificate", &C::certificate, Path(),
                 "Your certificate (PEM): it says for which tenant you act, "
                 "and in which\nrole."),
      MakeOption("key", &C::key, Path(), "Its key (PEM)."),
      MakeOption("timeout", &C::timeout,
                 DurationIn(absl::Milliseconds(100), absl::Hours(1)),
                 "How long a command waits for the verifier's answer."),

      Section("Defaults of `add` and `update`",
              MakeOption("allowlist", &C::allowlist, PathOrNone(),
                         "The file that `--allowlist default` means. Empty: "
                         "there is none.")),
      MakeOption("ima_excludelist", &C::ima_excludelist, PathOrNone(),
                 "The file that `--exclude default` means. Empty: there is "
                 "none."),
      MakeOption("default_policies", &C::default_policies, Texts(),
                 "The verifier's policies that an agent gets where none is "
                 "named, in\norder."),
      MakeOption(
          "boot", &C::boot, WordOrPath({"any", "pinned"}),
          "The boot rule where none is given: \"pinned\", \"any\", or the "
          "path of a\ntpm_policy (JSON). Empty: it has to be given."),
      MakeOption("trust_on_first_use", &C::trust_on_first_use, Bool(),
                 "Takes whichever TPM enrolls first under an agent's id, where "
                 "`add` names\nno EK. Whoever is faster than the machine then "
                 "gets its place."),
      MakeOption("lab", &C::lab, Bool(),
                 "Adds agents as --lab does: their TPM is an emulator without "
                 "firmware, and\nbanks that were never extended are accepted. "
                 "Every verdict says so."),
  };
  return *options;
}

absl::StatusOr<TenantConfig> LoadTenantConfig(const Sources& sources,
                                              Origins* origins) {
  TenantConfig config;
  CUPEL_RETURN_IF_ERROR(
      Apply("tenant", Bind(TenantOptions(), config), sources, origins));
  return config;
}

}  // namespace cupel::config
