#include "tests/lint/include_lint.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "re2/re2.h"

namespace cupel::lint {
namespace {

// Who may include what of the project. The first rule whose `files` fits
// counts; a file that none fits may include nothing.
struct Layer {
  const char* files;
  const char* may_include;
  const char* but_not = "";
};
constexpr Layer kLayers[] = {
    {"common/util/.*", "common/util/.*"},
    {"common/crypto/.*", "common/(crypto|util)/.*"},
    // Peers: none of them knows another.
    {"common/tpm/.*", "common/(tpm|crypto|util)/.*"},
    {"common/ima/.*", "common/(ima|crypto|util)/.*"},
    {"common/uefi/.*", "common/(uefi|crypto|util)/.*"},
    {"common/policy/.*", "common/(policy|crypto|util)/.*"},
    {"common/appraisal/.*",
     "common/(appraisal|policy|ima|uefi|tpm|crypto|util)/.*"},
    {"common/config/.*", "common/(config|util)/.*"},
    {"common/rpc/.*", "(common|proto)/.*"},
    // In each binary main sees all, rpc sees the core, the core no rpc.
    {"agent/main\\.cc|agent/rpc/.*", "(agent|common|proto)/.*"},
    {"verifier/main\\.cc|verifier/rpc/.*", "(verifier|common|proto)/.*"},
    {"tenant/main\\.cc|tenant/rpc/.*", "(tenant|common|proto)/.*"},
    // What files hold, and not what a command does with it.
    {"tenant/reference/.*", "tenant/reference/.*|common/(crypto|util)/.*"},
    {"agent/.*", "(agent|common)/.*", "(agent|common)/rpc/.*"},
    {"verifier/.*", "(verifier|common)/.*", "(verifier|common)/rpc/.*"},
    {"tenant/.*", "(tenant|common)/.*", "(tenant|common)/rpc/.*"},
    {"tests/.*", ".*"},
};

// Who may include a library's headers. Libraries that are not here may be used
// anywhere.
struct External {
  const char* headers;
  const char* files;
  const char* reason;
};
constexpr External kExternals[] = {
    {R"(grpc(pp)?/.*|.*\.grpc\.pb\.h)",
     "(common|agent|verifier|tenant)/rpc/.*|tests/.*",
     "gRPC stays in the rpc folders"},
    {"tss2/.*", "agent/tpm/.*|tests/agent/tpm/.*|tests/integration/.*",
     "only agent/tpm talks to a TPM"},
    {R"(soci/.*|sqlite3\.h|libpq.*|postgresql/.*)",
     "verifier/store/.*|tests/verifier/store/.*|tests/contract/.*",
     "only verifier/store knows SQL"},
    {"yaml-cpp/.*", "common/config/.*",
     "yaml-cpp's exceptions end in the configuration's loader"},
    {"CLI/.*", R"(common/config/.*|tenant/.*|(agent|verifier)/main\.cc)",
     "command lines are read in the binaries"},
    {R"((bzlib|lz4|lzma|zlib|zstd)\.h)",
     R"((tenant/reference/.*|agent/doctor/kernel_config\.cc|)"
     R"(tests/support/cpio_builder\.cc))",
     "only tenant/reference, and the doctor for the kernel's configuration, "
     "unpack anything"},
    {"catch2/.*", "tests/.*", "Catch2 is for tests"},
    {"benchmark/.*", "tests/bench/.*", "Google Benchmark is for tests/bench"},
};

constexpr char kInclude[] = R"re(^\s*#\s*include\s*(["<])([^">]*)[">])re";
constexpr char kProjectPath[] = "(common|agent|verifier|tenant|tests|proto)/.*";
constexpr char kGenerated[] = R"(proto/.*\.pb\.h)";
constexpr char kQuotedLibraries[] =
    R"((absl|benchmark|catch2|CLI|google|grpc|grpcpp|nlohmann|prometheus|re2|soci|yaml-cpp)/.*|)"
    R"(simdjson\.h)";

bool MayInclude(absl::string_view file, absl::string_view header) {
  for (const Layer& layer : kLayers) {
    if (!Matches(file, layer.files)) continue;
    return Matches(header, layer.may_include) &&
           !Matches(header, layer.but_not);
  }
  return false;
}

class Checker {
 public:
  explicit Checker(const Tree& tree) : tree_(tree) {}

  std::vector<Violation> Run() {
    for (const File& file : tree_) {
      if (!IsCpp(file.path)) continue;
      int line = 0;
      for (const std::string& code : CodeLines(file.text)) {
        ++line;
        std::string open;
        std::string header;
        if (RE2::PartialMatch(code, Pattern(kInclude), &open, &header)) {
          CheckOne({file.path, line, "", ""}, open == "\"", header);
        }
      }
    }
    return std::move(violations_);
  }

 private:
  void CheckOne(const Violation& place, bool quoted,
                const std::string& header) {
    const auto report = [&](const char* rule, const std::string& detail) {
      violations_.push_back({place.path, place.line, rule, detail});
    };
    if (absl::EndsWith(header, ".cc")) {
      report("source", absl::StrCat(header, " is no header"));
    }
    for (const External& external : kExternals) {
      if (Matches(header, external.headers) &&
          !Matches(place.path, external.files)) {
        report("external", absl::StrCat(header, ": ", external.reason));
      }
    }
    if (!Matches(header, kProjectPath)) {
      if (quoted && !Matches(header, kQuotedLibraries)) {
        report("path", absl::StrCat(header,
                                    " is neither a path from the project's "
                                    "root nor a known library's header"));
      }
      return;
    }
    if (!quoted) report("path", absl::StrCat(header, " belongs in quotes"));
    if (!Matches(header, kGenerated) && Find(tree_, header) == nullptr) {
      report("path", absl::StrCat("there is no ", header));
    }
    if (!MayInclude(place.path, header)) {
      report("layer",
             absl::StrCat(FolderOf(place.path), " must not include ", header));
    }
  }

  const Tree& tree_;
  std::vector<Violation> violations_;
};

}  // namespace

std::vector<Violation> CheckIncludes(const Tree& tree) {
  return Checker(tree).Run();
}

}  // namespace cupel::lint
