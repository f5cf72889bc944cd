#include "tenant/reference/name_tree.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tenant/reference/kernel_path.h"

namespace cupel::tenant {
namespace {

constexpr NameTree::Node kRoot = 0;
constexpr int kMaxLinks = 40;
constexpr int kMaxSteps = 1024;

// The path's names, the last of them first: a stack of what is still to go.
std::vector<std::string> Names(absl::string_view path) {
  std::vector<std::string> names = absl::StrSplit(path, '/', absl::SkipEmpty());
  return {names.rbegin(), names.rend()};
}

}  // namespace

NameTree::NameTree() { nodes_.emplace_back(); }

std::optional<NameTree::Place> NameTree::Find(absl::string_view path) {
  std::vector<std::string> rest = Names(path);
  Node folder = kRoot;
  int link_count = 0;
  int step_count = 0;
  while (!rest.empty() && ++step_count <= kMaxSteps) {
    std::string name = std::move(rest.back());
    rest.pop_back();
    if (name == ".") continue;
    if (name == "..") {
      folder = nodes_[folder].parent;
      continue;
    }
    // Only the names before the last are followed.
    if (rest.empty()) return Place{folder, std::move(name)};
    const auto found = nodes_[folder].names.find(name);
    if (found == nodes_[folder].names.end()) {
      const auto made = Put({folder, std::move(name)}, Kind::kFolder);
      if (!made.has_value()) return std::nullopt;
      folder = *made;
      continue;
    }
    const Entry& entry = nodes_[found->second];
    if (entry.kind == Kind::kFolder) {
      folder = found->second;
    } else if (entry.kind == Kind::kSymlink && ++link_count <= kMaxLinks) {
      if (absl::string_view(entry.target).substr(0, 1) == "/") folder = kRoot;
      // A link that leads to a folder by its last name goes on from there.
      for (std::string& step : Names(entry.target)) {
        rest.push_back(std::move(step));
      }
    } else {
      return std::nullopt;
    }
  }
  // The root, a folder by way of "..", or too long a way.
  return std::nullopt;
}

bool NameTree::Clear(const Place& place) {
  auto& names = nodes_[place.folder].names;
  const auto found = names.find(place.name);
  if (found == names.end()) return true;
  const Entry& entry = nodes_[found->second];
  if (entry.kind == Kind::kFolder && !entry.names.empty()) return false;
  names.erase(found);
  return true;
}

std::optional<NameTree::Node> NameTree::Put(const Place& place, Kind kind) {
  const size_t path_size =
      nodes_[place.folder].path_size + 1 + place.name.size();
  if (path_size > kMaxKernelPathSize || !Clear(place)) return std::nullopt;
  const auto node = static_cast<Node>(nodes_.size());
  Entry& entry = nodes_.emplace_back();
  entry.kind = kind;
  entry.parent = place.folder;
  entry.path_size = path_size;
  nodes_[place.folder].names.emplace(place.name, node);
  return node;
}

std::optional<NameTree::Node> NameTree::AddFolder(absl::string_view path) {
  const auto place = Find(path);
  if (!place.has_value()) return std::nullopt;
  const auto& names = nodes_[place->folder].names;
  const auto found = names.find(place->name);
  if (found != names.end() && nodes_[found->second].kind == Kind::kFolder) {
    return found->second;
  }
  return Put(*place, Kind::kFolder);
}

std::optional<NameTree::Node> NameTree::AddSymlink(absl::string_view path,
                                                   absl::string_view target) {
  const auto place = Find(path);
  if (!place.has_value()) return std::nullopt;
  const auto node = Put(*place, Kind::kSymlink);
  if (node.has_value()) nodes_[*node].target = std::string(target);
  return node;
}

std::optional<NameTree::Node> NameTree::AddSpecial(absl::string_view path) {
  const auto place = Find(path);
  return place.has_value() ? Put(*place, Kind::kSpecial) : std::nullopt;
}

std::optional<NameTree::Node> NameTree::AddFile(absl::string_view path) {
  const auto place = Find(path);
  if (!place.has_value()) return std::nullopt;
  const auto& names = nodes_[place->folder].names;
  const auto found = names.find(place->name);
  if (found != names.end() && nodes_[found->second].kind == Kind::kFile) {
    return found->second;
  }
  return Put(*place, Kind::kFile);
}

std::optional<NameTree::Node> NameTree::AddHardLink(absl::string_view path,
                                                    Node file) {
  const auto place = Find(path);
  if (!place.has_value()) return std::nullopt;
  const size_t path_size =
      nodes_[place->folder].path_size + 1 + place->name.size();
  if (path_size > kMaxKernelPathSize || !Clear(*place)) return std::nullopt;
  nodes_[place->folder].names.emplace(place->name, file);
  return file;
}

void NameTree::ForEachFile(absl::FunctionRef<void(absl::string_view path,
                                                  const crypto::Digest& digest)>
                               visit) const {
  // Without recursion: an archive decides how deep folders go.
  struct Level {
    std::string path;
    std::map<std::string, Node, std::less<>>::const_iterator next;
    Node folder;
  };
  std::vector<Level> levels = {{"", nodes_[kRoot].names.begin(), kRoot}};
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.next == nodes_[level.folder].names.end()) {
      levels.pop_back();
      continue;
    }
    const auto& [name, node] = *level.next++;
    std::string path = absl::StrCat(level.path, "/", name);
    const Entry& entry = nodes_[node];
    if (entry.kind == Kind::kFolder) {
      levels.push_back({std::move(path), entry.names.begin(), node});
    } else if (entry.digest.has_value()) {
      visit(path, *entry.digest);
    }
  }
}

}  // namespace cupel::tenant
