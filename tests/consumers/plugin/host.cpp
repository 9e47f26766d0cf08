// Loads the plugin, uses it, catches what it throws by type, unloads it, and does so again.
#include <adjoint/error.hpp>

#include <dlfcn.h>

#include <cstdlib>
#include <iostream>

template <class Function>
Function* symbol(void* plugin, const char* name) {
  void* address = dlsym(plugin, name);
  if (address == nullptr) {
    std::cerr << dlerror() << '\n';
    std::exit(1);
  }
  return reinterpret_cast<Function*>(address);
}

int main() {
  for (int round = 0; round < 3; ++round) {
    void* plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (plugin == nullptr) {
      std::cerr << dlerror() << '\n';
      return 1;
    }
    if (symbol<double()>(plugin, "plugin_compute")() != 12) return 2;
    bool caught = false;
    try {
      symbol<void()>(plugin, "plugin_throw")();
    } catch (const adjoint::DtypeError&) {
      return 3;
    } catch (const adjoint::ShapeError& error) {
      caught = true;
      std::cout << "caught: " << error.what() << '\n';
    }
    if (!caught) return 4;
    dlclose(plugin);
  }
  return 0;
}
