#include "tests/support/real_lists.h"

#include <algorithm>
#include <filesystem>

#include "catch2/catch.hpp"
#include "common/ima/template_format.h"
#include "common/util/bytes.h"
#include "common/util/file.h"
#include "common/util/hex.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace cupel::testing {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileSize = size_t{1} << 20;
constexpr size_t kListCount = 33;

std::vector<uint8_t> Read(const fs::path& path) {
  auto bytes = ReadFile(path.string(), kMaxFileSize);
  REQUIRE_THAT(StatusOf(bytes), IsOk());
  return *std::move(bytes);
}

RealList Load(const fs::path& root, const fs::path& folder) {
  RealList list;
  list.name = fs::relative(folder, root).string();
  list.folder = folder.string();
  list.binary = Read(folder / "binary_runtime_measurements");
  list.ascii = std::string(AsText(Read(folder / "ascii_runtime_measurements")));
  const auto pcrs = nlohmann::json::parse(AsText(Read(folder / "pcrs.json")));
  for (const auto& [bank, values] : pcrs.items()) {
    for (const auto& [pcr, value] : values.items()) {
      list.pcrs[bank][static_cast<uint32_t>(std::stoul(pcr))] =
          value.get<std::string>();
    }
  }
  return list;
}

std::vector<RealList> LoadAll() {
  const fs::path root = fs::path(CUPEL_VECTORS_DIR) / "ima";
  std::vector<RealList> lists;
  for (const auto& file : fs::recursive_directory_iterator(root)) {
    if (file.path().filename() == "binary_runtime_measurements") {
      lists.push_back(Load(root, file.path().parent_path()));
    }
  }
  std::ranges::sort(lists, {}, &RealList::name);
  REQUIRE(lists.size() == kListCount);
  return lists;
}

void ReverseAt(std::vector<uint8_t>& bytes, size_t at, size_t size = 4) {
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  std::reverse(begin, begin + static_cast<std::ptrdiff_t>(size));
}

uint32_t LoadLittle(std::span<const uint8_t> bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | bytes[at + i];
  return value;
}

// Turns round the fields' sizes, and the integers in them.
void ReverseFields(const ima::Entry& entry, size_t at,
                   std::vector<uint8_t>& out) {
  const auto format = ima::FindTemplateFormat(entry.template_name);
  REQUIRE(format);
  for (const ima::FieldId field : format->fields()) {
    const size_t size = LoadLittle(out, at);
    ReverseAt(out, at);
    at += 4;
    switch (field) {
      case ima::FieldId::kInodeUid:
      case ima::FieldId::kInodeGid:
      case ima::FieldId::kInodeMode:
        ReverseAt(out, at, size);
        break;
      case ima::FieldId::kXattrLengths:
        for (size_t i = 0; i < size; i += 4) ReverseAt(out, at + i);
        break;
      default:
        break;
    }
    at += size;
  }
}

}  // namespace

std::optional<crypto::Digest> RealList::Pcr(crypto::HashAlgorithm bank,
                                            uint32_t pcr) const {
  const auto values = pcrs.find(std::string(crypto::HashAlgorithmName(bank)));
  if (values == pcrs.end()) return std::nullopt;
  const auto value = values->second.find(pcr);
  if (value == values->second.end()) return std::nullopt;
  const auto bytes = HexDecode(value->second);
  REQUIRE_THAT(StatusOf(bytes), IsOk());
  const auto digest = crypto::Digest::Create(bank, *bytes);
  REQUIRE_THAT(StatusOf(digest), IsOk());
  return *digest;
}

bool RealList::IsAfterKexec() const {
  return name == "kexec-second-kernel" || name == "vm-kexec";
}

bool RealList::IsPadded() const {
  return name == "ng-sha384bank-only" || name == "vm-padded";
}

bool RealList::HasNewlineName() const {
  return name == "legacy-ima-template" || name == "ng-tcb-violations" ||
         name == "vm-names";
}

bool RealList::IsQuoted() const {
  return fs::exists(fs::path(folder) / "quote.msg");
}

const std::vector<RealList>& RealLists() {
  static const auto& lists = *new std::vector<RealList>(LoadAll());
  return lists;
}

const RealList& RealListNamed(absl::string_view name) {
  const auto list = std::ranges::find_if(
      RealLists(), [&](const RealList& l) { return l.name == name; });
  REQUIRE(list != RealLists().end());
  return *list;
}

std::vector<ima::Entry> ParseWhole(std::span<const uint8_t> list,
                                   const ima::ListOptions& options) {
  std::vector<ima::Entry> entries;
  ima::ListParser parser(options);
  const auto keep = [&entries](std::span<const ima::Entry> batch) {
    entries.insert(entries.end(), batch.begin(), batch.end());
    return absl::OkStatus();
  };
  REQUIRE_THAT(parser.Feed(list, keep), IsOk());
  REQUIRE_THAT(parser.Finish(), IsOk());
  return entries;
}

std::vector<uint8_t> ToBigEndian(std::span<const uint8_t> list) {
  std::vector<uint8_t> out = ToVector(list);
  for (const ima::Entry& entry : ParseWhole(list)) {
    size_t at = entry.offset;
    ReverseAt(out, at);  // pcr
    at += 4 + entry.template_digest.size();
    ReverseAt(out, at);  // name_size
    at += 4 + entry.template_name.size();
    if (entry.IsLegacy()) {
      ReverseAt(out, at + 20);  // the file name's size
    } else {
      ReverseAt(out, at);  // data_size
      ReverseFields(entry, at + 4, out);
    }
  }
  return out;
}

}  // namespace cupel::testing
