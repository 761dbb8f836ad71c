import BlockFunctions
import FunctionPluginKit

/// Shares SATA disks, and standard disks of whatever kind, as extents: on their own host through loop devices, to other
/// hosts by NBD.
@main struct Program {
  static func main() async { await PluginMain<BlockPlugin<SATADisks>>.run() }
}
