// The files of packaging/config are what the code says.
#include <map>
#include <set>
#include <string>

#include "catch2/catch.hpp"
#include "common/config/agent_config.h"
#include "common/config/tenant_config.h"
#include "common/config/verifier_config.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"

namespace cupel::config {
namespace {

using testing::IsOk;
using testing::StatusOf;

std::string ExamplePath(const std::string& program) {
  return std::string(CUPEL_SOURCE_DIR) + "/packaging/config/" + program +
         ".yaml";
}

template <typename Config>
std::string Rendered(const std::string& program,
                     const std::vector<Option<Config>>& table) {
  Config defaults;
  return Render(program, Bind(table, defaults));
}

template <typename Config>
void CheckExample(const std::string& program,
                  const std::vector<Option<Config>>& table,
                  absl::StatusOr<Config> (*load)(const Sources&, Origins*)) {
  const std::string path = ExamplePath(program);
  Origins origins;
  const auto config = load({.file = path, .file_required = true}, &origins);
  REQUIRE_THAT(StatusOf(config), IsOk());
  CHECK(*config == *load({}, nullptr));
  std::set<std::string> keys;
  for (const Option<Config>& option : table) {
    CAPTURE(option.key);
    CHECK(origins.contains(option.key));
    CHECK_FALSE(option.help.empty());
    CHECK(keys.insert(option.key).second);
  }
  // Comments too. Where this fails, `common_config_test "[write]"` writes them.
  CHECK(AsText(*ReadFile(path, 1 << 20)) == Rendered(program, table));
}

TEST_CASE("The shipped examples hold every option with its default") {
  CheckExample("agent", AgentOptions(), LoadAgentConfig);
  CheckExample("verifier", VerifierOptions(), LoadVerifierConfig);
  CheckExample("tenant", TenantOptions(), LoadTenantConfig);
}

TEST_CASE("Any value that is rendered is read as the same") {
  VerifierConfig config;
  config.attest_listen = {"::", 1};
  config.metrics_listen.reset();
  config.store_path = "/a b/\"c\"\\d: #e";
  config.fresh = absl::Milliseconds(1500);
  config.worker_threads = 7;
  config.accept_unknown_ek_issuer = true;
  VerifierConfig again;
  const auto bindings = Bind(VerifierOptions(), again);
  for (const Binding& option : Bind(VerifierOptions(), config)) {
    Value shown = option.show();
    for (const Binding& other : bindings) {
      if (other.key == option.key) CHECK(other.set(shown));
    }
  }
  CHECK(again == config);
  const std::string text = Render("verifier", Bind(VerifierOptions(), config));
  CHECK(text.find("\nstore_path: \"/a b/\\\"c\\\"\\\\d: #e\"\n") !=
        std::string::npos);
  CHECK(text.find("\nattest_listen: \"[::]:1\"\n") != std::string::npos);
}

TEST_CASE("Write the shipped examples", "[.][write]") {
  CHECK_THAT(WriteFile(ExamplePath("agent"), Rendered("agent", AgentOptions())),
             IsOk());
  CHECK_THAT(WriteFile(ExamplePath("verifier"),
                       Rendered("verifier", VerifierOptions())),
             IsOk());
  CHECK_THAT(
      WriteFile(ExamplePath("tenant"), Rendered("tenant", TenantOptions())),
      IsOk());
}

}  // namespace
}  // namespace cupel::config
