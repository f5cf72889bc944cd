#include "tests/cli/online/online.h"

#include <sys/stat.h>

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"

namespace cupel::testing {

OnlineBench::OnlineBench()
    : operator_(MakeTestOperator("operator")),
      fleet_(ca_.IssueServer(), operator_.certificate_pem) {
  Write("ca.pem", ca_.pem());
  Write("cert.pem", operator_.certificate_pem);
  Write("key.pem", operator_.key_pem);
  Configure("");
}

void OnlineBench::Configure(absl::string_view more) {
  Write("tenant.yaml",
        absl::StrCat("verifier: localhost:", port(),
                     "\nca_file: ca.pem\ncertificate: cert.pem\nkey: key.pem\n"
                     "timeout: 20s\n",
                     more));
}

std::string OnlineBench::Write(const std::string& name,
                               absl::string_view content) const {
  Spill(Path(name), content);
  return Path(name);
}

CommandResult OnlineBench::Run(const std::vector<std::string>& arguments,
                               const CommandOptions& options) const {
  return Tenant(
      std::vector<std::string>{"--config", Path("tenant.yaml")} + arguments,
      options);
}

v1::Agent& OnlineBench::AddTrusted(const std::string& id) {
  v1::Agent& agent = state().agents[id];
  agent.set_agent_id(id);
  agent.set_state(v1::STATE_TRUSTED);
  agent.set_live(true);
  return agent;
}

v1::Agent& OnlineBench::AddFailed(const std::string& id,
                                  const std::string& path) {
  v1::Agent& agent = AddTrusted(id);
  agent.set_state(v1::STATE_FAILED);
  v1::Finding* const finding = agent.add_findings();
  finding->set_id("ima.not_in_policy");
  finding->set_severity("failure");
  finding->set_path(path);
  finding->set_entry_index(17);
  finding->set_authenticated(true);
  finding->set_accept_as(absl::StrCat("ima.not_in_policy@", kHandle));
  return agent;
}

Pipe::Pipe(std::string path, std::string content) : path_(std::move(path)) {
  REQUIRE(mkfifo(path_.c_str(), 0600) == 0);
  writer_ = std::jthread([path = path_, content = std::move(content)] {
    std::ofstream(path, std::ios::binary) << content;
  });
}

}  // namespace cupel::testing
