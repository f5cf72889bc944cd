// The files of packaging/config are what the code says.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"
#include "common/config/agent_config.h"
#include "common/config/tenant_config.h"
#include "common/config/verifier_config.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_folder.h"

namespace cupel::config {
namespace {

using testing::IsOk;
using testing::StatusIs;
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

// The example with `line` at its end, in a file of the test's own.
template <typename Config>
void CheckLineIsRefused(const std::string& program, const std::string& line,
                        const std::string& message,
                        absl::StatusOr<Config> (*load)(const Sources&,
                                                       Origins*)) {
  CAPTURE(program, line);
  const testing::TemporaryFolder folder;
  const std::string path = folder / (program + ".yaml");
  const auto example = ReadFile(ExamplePath(program), 1 << 20);
  REQUIRE_THAT(StatusOf(example), IsOk());
  const std::string text(AsText(*example));
  REQUIRE_THAT(WriteFile(path, absl::StrCat(text, line, "\n")), IsOk());
  const auto line_number = std::ranges::count(text, '\n') + 1;
  CHECK_THAT(StatusOf(load({.file = path, .file_required = true}, nullptr)),
             StatusIs(absl::StatusCode::kInvalidArgument,
                      absl::StrCat(path, ":", line_number, ": ", message)));
}

template <typename Config>
void CheckOneLineTooMany(const std::string& program,
                         const std::vector<Option<Config>>& table,
                         absl::StatusOr<Config> (*load)(const Sources&,
                                                        Origins*)) {
  CheckLineIsRefused(program, "no_such_option: 1",
                     "unknown option \"no_such_option\"", load);
  for (const Option<Config>& option : table) {
    CheckLineIsRefused(program, option.key + ": x",
                       option.key + " stands here again", load);
  }
}

TEST_CASE("Unknown and repeated options are refused in every program's file") {
  CheckOneLineTooMany("agent", AgentOptions(), LoadAgentConfig);
  CheckOneLineTooMany("verifier", VerifierOptions(), LoadVerifierConfig);
  CheckOneLineTooMany("tenant", TenantOptions(), LoadTenantConfig);
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
