import BlockFunctions
import FunctionPluginKit

/// Shares NVMe namespaces: as extents like any disk, and as a whole.
@main struct Program {
  static func main() async { await PluginMain<BlockPlugin<NVMeDisks>>.run() }
}
