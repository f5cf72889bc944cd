#include "tests/lint/include_lint.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"

namespace cupel::lint {
namespace {

TEST_CASE("The project keeps to its layers") {
  const auto tree = ReadTree(CUPEL_SOURCE_DIR);
  REQUIRE(tree.ok());
  CHECK(Describe(CheckIncludes(*tree)) == "");
}

// A header in each folder, and `source` in `path`.
Tree TreeWith(const std::string& path, const std::string& source) {
  Tree tree;
  for (const char* folder :
       {"common/util", "common/crypto", "common/tpm", "common/ima",
        "common/uefi", "common/policy", "common/appraisal", "common/config",
        "common/rpc", "agent", "agent/tpm", "agent/rpc", "verifier",
        "verifier/store", "verifier/rpc", "tenant", "tenant/commands",
        "tenant/rpc", "tests/support"}) {
    tree.push_back({absl::StrCat(folder, "/x.h"), ""});
  }
  tree.push_back({path, source});
  return tree;
}

// The rules that `source` in `path` breaks.
std::vector<std::string> RulesBroken(const std::string& path,
                                     const std::string& source) {
  std::vector<std::string> rules;
  for (const Violation& violation : CheckIncludes(TreeWith(path, source))) {
    CHECK(violation.path == path);
    rules.push_back(violation.rule);
  }
  return rules;
}

std::vector<std::string> BrokenByIncluding(const std::string& path,
                                           const std::string& header) {
  return RulesBroken(path, absl::StrCat("#include \"", header, "\"\n"));
}

using Rules = std::vector<std::string>;

TEST_CASE("A folder may include what stands below it") {
  struct Case {
    const char* file;
    const char* folder;
  };
  for (const Case& c : std::vector<Case>{
           {"common/util/a.cc", "common/util"},
           {"common/crypto/a.cc", "common/util"},
           {"common/tpm/a.cc", "common/crypto"},
           {"common/ima/a.cc", "common/util"},
           {"common/uefi/a.cc", "common/crypto"},
           {"common/policy/a.cc", "common/crypto"},
           {"common/appraisal/a.cc", "common/tpm"},
           {"common/appraisal/a.cc", "common/ima"},
           {"common/appraisal/a.cc", "common/uefi"},
           {"common/appraisal/a.cc", "common/policy"},
           {"common/config/a.cc", "common/util"},
           {"common/rpc/a.cc", "common/appraisal"},
           {"agent/a.cc", "common/tpm"},
           {"agent/a.cc", "agent/tpm"},
           {"agent/rpc/a.cc", "agent"},
           {"agent/main.cc", "agent/rpc"},
           {"verifier/a.cc", "verifier/store"},
           {"verifier/rpc/a.cc", "common/rpc"},
           {"tenant/commands/a.cc", "tenant"},
           {"tenant/commands/a.cc", "common/appraisal"},
           {"tests/attacks/a.cc", "verifier/rpc"},
       }) {
    CAPTURE(c.file, c.folder);
    CHECK(BrokenByIncluding(c.file, absl::StrCat(c.folder, "/x.h")) == Rules{});
  }
}

TEST_CASE("A folder may not include what stands above or beside it") {
  struct Case {
    const char* file;
    const char* folder;
  };
  for (const Case& c : std::vector<Case>{
           {"common/util/a.cc", "common/crypto"},
           {"common/crypto/a.cc", "common/tpm"},
           {"common/crypto/a.h", "common/appraisal"},
           {"common/tpm/a.cc", "common/ima"},
           {"common/ima/a.cc", "common/tpm"},
           {"common/ima/a.cc", "common/policy"},
           {"common/uefi/a.cc", "common/tpm"},
           {"common/policy/a.cc", "common/ima"},
           {"common/policy/a.cc", "common/appraisal"},
           {"common/appraisal/a.cc", "common/rpc"},
           {"common/appraisal/a.cc", "common/config"},
           {"common/config/a.cc", "common/crypto"},
           {"common/rpc/a.cc", "agent"},
           {"common/util/a.cc", "tenant"},
           {"common/util/a.cc", "tests/support"},
           {"agent/a.cc", "verifier"},
           {"agent/a.cc", "tenant"},
           {"agent/a.cc", "agent/rpc"},
           {"agent/a.cc", "common/rpc"},
           {"agent/tpm/a.cc", "agent/rpc"},
           {"agent/main.cc", "verifier"},
           {"agent/main.cc", "tests/support"},
           {"verifier/a.cc", "agent"},
           {"verifier/rpc/a.cc", "tenant"},
           {"verifier/store/a.cc", "verifier/rpc"},
           {"tenant/commands/a.cc", "verifier/store"},
           {"tenant/commands/a.cc", "tenant/rpc"},
           {"tenant/main.cc", "agent"},
           {"tenant/main.cc", "tests/support"},
           {"elsewhere/a.cc", "common/util"},
       }) {
    CAPTURE(c.file, c.folder);
    CHECK(BrokenByIncluding(c.file, absl::StrCat(c.folder, "/x.h")) ==
          Rules{"layer"});
  }
}

TEST_CASE("A library is used only where it belongs") {
  struct Case {
    const char* include;
    const char* right;
    const char* wrong;
  };
  for (const Case& c : std::vector<Case>{
           {"\"grpcpp/grpcpp.h\"", "agent/rpc/a.cc", "agent/a.cc"},
           {"\"grpcpp/grpcpp.h\"", "common/rpc/a.cc", "common/util/a.cc"},
           {"\"grpcpp/server.h\"", "verifier/rpc/a.cc", "verifier/a.cc"},
           {"\"grpcpp/server.h\"", "tests/integration/a.cc", "tenant/a.cc"},
           {"<grpc/grpc.h>", "tenant/rpc/a.cc", "tenant/main.cc"},
           {"\"proto/cupel/v1/fleet.grpc.pb.h\"", "tests/cli/a.cc",
            "verifier/a.cc"},
           {"<tss2/tss2_esys.h>", "agent/tpm/a.cc", "agent/a.cc"},
           {"<tss2/tss2_mu.h>", "agent/tpm/a.cc", "common/tpm/a.cc"},
           {"\"soci/soci.h\"", "verifier/store/a.cc", "verifier/session/a.cc"},
           {"<sqlite3.h>", "tests/contract/a.cc", "verifier/a.cc"},
           {"<libpq-fe.h>", "verifier/store/a.cc", "common/util/a.cc"},
           {"\"yaml-cpp/yaml.h\"", "common/config/a.cc", "agent/main.cc"},
           {"\"CLI/CLI.hpp\"", "tenant/main.cc", "common/policy/a.cc"},
           {"\"CLI/CLI.hpp\"", "agent/main.cc", "agent/tpm/a.cc"},
           {"\"catch2/catch.hpp\"", "tests/cli/a.cc", "common/ima/a.cc"},
           {"\"benchmark/benchmark.h\"", "tests/bench/a.cc", "tests/cli/a.cc"},
       }) {
    CAPTURE(c.include, c.right, c.wrong);
    const auto external = [&](const char* path) {
      const Rules rules =
          RulesBroken(path, absl::StrCat("#include ", c.include, "\n"));
      return std::ranges::count(rules, "external");
    };
    CHECK(external(c.right) == 0);
    CHECK(external(c.wrong) == 1);
  }
}

TEST_CASE("A project header is included by its full path, in quotes") {
  CHECK(BrokenByIncluding("common/util/a.cc", "x.h") == Rules{"path"});
  CHECK(BrokenByIncluding("common/crypto/a.cc", "../util/x.h") ==
        Rules{"path"});
  CHECK(BrokenByIncluding("common/util/a.cc", "common/util/gone.h") ==
        Rules{"path"});
  CHECK(RulesBroken("common/util/a.cc", "#include <common/util/x.h>\n") ==
        Rules{"path"});
  CHECK(BrokenByIncluding("common/util/a.cc", "unheard_of/x.h") ==
        Rules{"path"});
  CHECK(BrokenByIncluding("common/util/a.cc", "absl/strings/str_cat.h") ==
        Rules{});
  CHECK(RulesBroken("common/util/a.cc", "#include <vector>\n") == Rules{});
}

TEST_CASE("Nobody includes a source file") {
  Tree tree = TreeWith("common/util/a.cc", "#include \"common/util/b.cc\"\n");
  tree.push_back({"common/util/b.cc", ""});
  const std::vector<Violation> violations = CheckIncludes(tree);
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].rule == "source");
}

TEST_CASE("Violations name the line; comments and literals include nothing") {
  const std::vector<Violation> violations = CheckIncludes(
      TreeWith("common/util/a.cc",
               "// #include \"agent/x.h\"\n"
               "/*\n#include \"agent/x.h\"\n*/\n"
               "const char* k = R\"(\n#include \"agent/x.h\"\n)\";\n"
               "  #  include \"agent/x.h\"  // why\n"));
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].line == 8);
  CHECK(violations[0].rule == "layer");
}

}  // namespace
}  // namespace cupel::lint
