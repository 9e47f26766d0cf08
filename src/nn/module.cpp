#include "nn/registry.hpp"
#include "nn/type_name.hpp"

#include <adjoint/autograd.hpp>
#include <adjoint/io/safetensors.hpp>
#include <adjoint/nn/module.hpp>

#include <algorithm>
#include <mutex>
#include <ostream>
#include <set>
#include <string_view>
#include <unordered_map>

namespace adjoint::nn {

namespace {

// A copy of the name that lives as long as the program. There are as many as a program's networks have names.
const char* interned(const std::string& name) {
  static std::mutex& mutex = *new std::mutex;
  static std::set<std::string>& names = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return names.insert(name).first->c_str();
}

std::string joined(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

std::string with_commas(std::int64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

const void* address_of(const detail::Member& member) {
  if (member.parameter) return member.parameter;
  if (member.buffer) return member.buffer;
  return member.module;
}

std::string listed(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : "; ") + item;
  return text;
}

}  // namespace

void Members::check_name(const std::string& name) {
  if (name.empty() || name.find('.') != std::string::npos)
    throw ValueError("members: \"" + name + "\" is no name for a member; it must not be empty nor have a dot");
}

// -- life -------------------------------------------------------------------------------------------------------------

ModuleBase::ModuleBase() { registry::add(this, registry::Kind::module); }

ModuleBase::ModuleBase(const ModuleBase& other) : training_(other.training_) {
  registry::add(this, registry::Kind::module);
}

// The name moves along: a std::vector that grows moves modules that stay what they are.
ModuleBase::ModuleBase(ModuleBase&& other) noexcept
    : training_(other.training_), name_(other.name_.load(std::memory_order_relaxed)) {
  registry::move(&other, this);
}

ModuleBase& ModuleBase::operator=(const ModuleBase&) {
  registry::add(this, registry::Kind::module);  // in case that this one was moved from
  return *this;
}

ModuleBase::~ModuleBase() { registry::remove(this); }

// -- the check at first use -------------------------------------------------------------------------------------------

void ModuleBase::ensure_checked() const {
  const std::type_info& type = typeid(*this);
  if (checked_.load(std::memory_order_acquire) != &type) check_members(type);
}

const char* ModuleBase::checked_name() const {
  ensure_checked();
  return name_.load(std::memory_order_acquire);
}

void ModuleBase::check_members(const std::type_info& type) const {
  const Declared self = declared();
  const std::string name = type_name(type);
  if (*self.type != type) {
    const std::string base = type_name(*self.type);
    throw ValueError(name + ": derives from " + base + " without saying so; write \"struct " + name + " : Module<" +
                     name + ", " + base + ">\", and call " + base + "::members(m) in its members()");
  }

  Members members;
  visit_members(members);
  adopt_children(members.list_);
  for (const detail::Member& member : members.list_)
    if (member.module) member.module->ensure_checked();

  std::set<std::string_view> names;
  std::set<const void*> objects;
  for (const detail::Member& member : members.list_) {
    if (!names.insert(member.name).second)
      throw ValueError(name + ": members() gives the name \"" + member.name + "\" twice");
    if (!objects.insert(address_of(member)).second)
      throw ValueError(name + ": members() names \"" + member.name + "\" a second time");
  }

  const std::vector<registry::Entry> entries = registry::inside(self.begin, self.size);
  std::vector<Declared> inner;
  for (const registry::Entry& entry : entries)
    if (entry.kind == registry::Kind::module && entry.object != this)
      inner.push_back(static_cast<const ModuleBase*>(entry.object)->declared());
  for (const registry::Entry& entry : entries) {
    if (entry.object == this || objects.count(entry.object)) continue;
    // What lies inside of another module is that one's affair.
    const Declared* own = nullptr;
    int around = 0;
    for (const Declared& module : inner) {
      const auto offset = static_cast<const char*>(entry.object) - static_cast<const char*>(module.begin);
      if (offset < 0 || offset >= static_cast<std::ptrdiff_t>(module.size)) continue;
      ++around;
      own = &module;
    }
    const bool is_module = entry.kind == registry::Kind::module;
    if (around > (is_module ? 1 : 0)) continue;
    std::string what;
    if (is_module) what = "a module " + type_name(*own->type);
    else {
      const auto& cell = *static_cast<const detail::OwnedCell*>(entry.object);
      what = entry.kind == registry::Kind::parameter ? "a parameter" : "a buffer";
      what += cell.defined() ? " of shape " + to_string(cell.shape()) : ", undefined,";
    }
    const auto offset = static_cast<const char*>(entry.object) - static_cast<const char*>(self.begin);
    throw ValueError(name + ": " + what + " at offset " + std::to_string(offset) +
                     " is not named in members(), so it would be neither trained nor saved");
  }
  checked_.store(&type, std::memory_order_release);
}

void ModuleBase::adopt_children(const std::vector<detail::Member>& members) const {
  for (const detail::Member& member : members) {
    if (!member.module) continue;
    if (member.name != member.module->name_.load(std::memory_order_acquire))
      member.module->name_.store(interned(member.name), std::memory_order_release);
  }
}

std::vector<detail::Member> ModuleBase::checked_members() const {
  ensure_checked();
  Members members;
  visit_members(members);
  adopt_children(members.list_);
  return std::move(members.list_);
}

// -- what all modules can do ------------------------------------------------------------------------------------------

void ModuleBase::collect_cells(const std::string& prefix, NamedTensors* parameters, NamedTensors* buffers) const {
  for (const detail::Member& member : checked_members()) {
    const std::string name = joined(prefix, member.name);
    if (member.module) member.module->collect_cells(name, parameters, buffers);
    else if (member.parameter && parameters && member.parameter->defined())
      parameters->emplace_back(name, *member.parameter);
    else if (member.buffer && buffers && member.buffer->defined()) buffers->emplace_back(name, *member.buffer);
  }
}

void ModuleBase::collect_modules(const std::string& prefix, NamedModules& modules) {
  modules.emplace_back(prefix, this);
  for (const detail::Member& member : checked_members())
    if (member.module) member.module->collect_modules(joined(prefix, member.name), modules);
}

ModuleBase::NamedTensors ModuleBase::named_parameters() const {
  NamedTensors parameters;
  collect_cells("", &parameters, nullptr);
  return parameters;
}

ModuleBase::NamedTensors ModuleBase::named_buffers() const {
  NamedTensors buffers;
  collect_cells("", nullptr, &buffers);
  return buffers;
}

namespace {

std::vector<Tensor> without_names(const ModuleBase::NamedTensors& named) {
  std::vector<Tensor> tensors;
  tensors.reserve(named.size());
  for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  return tensors;
}

}  // namespace

std::vector<Tensor> ModuleBase::parameters() const { return without_names(named_parameters()); }

std::vector<Tensor> ModuleBase::buffers() const { return without_names(named_buffers()); }

ModuleBase::NamedModules ModuleBase::named_children() {
  NamedModules children;
  for (const detail::Member& member : checked_members())
    if (member.module) children.emplace_back(member.name, member.module);
  return children;
}

ModuleBase::NamedModules ModuleBase::named_modules() {
  NamedModules modules;
  collect_modules("", modules);
  return modules;
}

std::int64_t ModuleBase::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& [name, parameter] : named_parameters()) count += parameter.numel();
  return count;
}

void ModuleBase::train(bool mode) {
  for (const auto& [name, module] : named_modules()) module->training_ = mode;
}

void ModuleBase::zero_grad() {
  for (const auto& [name, parameter] : named_parameters()) parameter.set_grad({});
}

void ModuleBase::requires_grad_(bool requires_grad) {
  for (auto& [name, parameter] : named_parameters()) parameter.requires_grad_(requires_grad);
}

void ModuleBase::to(Dtype dtype) {
  if (!is_floating(dtype))
    throw DtypeError(std::string("to: a module's parameters cannot be ") + name_of(dtype) +
                     "; the dtype must be float32 or float64");
  for (const detail::Member& member : checked_members()) {
    if (member.module) {
      member.module->to(dtype);
      continue;
    }
    detail::OwnedCell& cell = member.parameter ? static_cast<detail::OwnedCell&>(*member.parameter) : *member.buffer;
    if (cell.defined() && is_floating(cell.dtype())) cell.convert(dtype);
  }
}

// -- state ------------------------------------------------------------------------------------------------------------

StateDict ModuleBase::state_dict() const {
  NamedTensors cells;
  collect_cells("", &cells, &cells);
  for (auto& [name, cell] : cells) cell = cell.detach();
  return StateDict(std::move(cells));
}

void ModuleBase::load_state_dict(const StateDict& values, bool strict) {
  load_values(values, strict, "load_state_dict");
}

void ModuleBase::load_values(const StateDict& values, bool strict, const std::string& where) {
  NamedTensors cells;
  collect_cells("", &cells, &cells);
  std::unordered_map<std::string_view, Tensor*> cell_of;
  for (auto& [name, cell] : cells) cell_of.emplace(name, &cell);

  std::vector<std::string> names, shapes, dtypes;
  std::vector<std::pair<Tensor*, const Tensor*>> updates;
  std::set<std::string_view> found;
  for (const auto& [name, value] : values) {
    const auto cell = cell_of.find(name);
    if (cell == cell_of.end()) {
      if (strict) names.push_back("\"" + name + "\" is not expected");
      continue;
    }
    found.insert(name);
    const Tensor& target = *cell->second;
    if (value.shape() != target.shape())
      shapes.push_back("\"" + name + "\" has shape " + to_string(value.shape()) + ", the module's has " +
                       to_string(target.shape()));
    else if (value.dtype() != target.dtype())
      dtypes.push_back("\"" + name + "\" is " + name_of(value.dtype()) + ", the module's is " +
                       name_of(target.dtype()));
    else updates.emplace_back(cell->second, &value);
  }
  if (strict)
    for (const auto& [name, cell] : cells)
      if (!found.count(name)) names.push_back("\"" + name + "\" is missing");

  std::vector<std::string> all = names;
  all.insert(all.end(), shapes.begin(), shapes.end());
  all.insert(all.end(), dtypes.begin(), dtypes.end());
  if (!all.empty()) {
    const std::string text = where + ": the values do not fit " + type_name(typeid(*this)) + ": " + listed(all);
    if (all.size() == shapes.size()) throw ShapeError(text);
    if (all.size() == dtypes.size()) throw DtypeError(text);
    throw ValueError(text);
  }

  const NoGradGuard no_grad;
  for (const auto& [cell, value] : updates) cell->set_(value->detach());
}

void ModuleBase::save(const std::string& path) const { io::save_safetensors(path, state_dict()); }

void ModuleBase::load(const std::string& path, bool strict) {
  load_values(io::load_safetensors(path), strict, "load: " + path);
}

// -- printing ---------------------------------------------------------------------------------------------------------

// Appends the line of this module after its name, and the lines below; returns the number of parameters.
std::int64_t ModuleBase::print_tree(std::string& text, const std::string& indent) const {
  const std::string arguments = extra_repr();
  text += type_name(typeid(*this));
  if (!arguments.empty()) text += "(" + arguments + ")";

  const std::vector<detail::Member> members = checked_members();
  std::int64_t count = 0;
  std::string cells;
  for (const detail::Member& member : members) {
    const auto* cell = member.parameter ? static_cast<const detail::OwnedCell*>(member.parameter) : member.buffer;
    if (!cell || !cell->defined()) continue;
    cells += (cells.empty() ? "  " : ", ") + member.name + " " + to_string(cell->shape());
    if (member.buffer) cells += " buffer";
    else {
      count += cell->numel();
      if (!cell->requires_grad()) cells += " frozen";
    }
  }
  text += cells;
  if (count > 0) text += ": " + with_commas(count);
  for (const detail::Member& member : members) {
    if (!member.module) continue;
    text += "\n" + indent + "  " + member.name + ": ";
    count += member.module->print_tree(text, indent + "  ");
  }
  return count;
}

std::string to_string(const ModuleBase& module) {
  std::string text;
  const std::int64_t count = module.print_tree(text, "");
  return text + "\n" + with_commas(count) + (count == 1 ? " parameter" : " parameters");
}

std::ostream& operator<<(std::ostream& out, const ModuleBase& module) { return out << to_string(module); }

}  // namespace adjoint::nn
