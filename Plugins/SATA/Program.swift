import FunctionPluginKit

/// Shares disks as extents: on their own host through loop devices, to other hosts by NBD.
@main struct Program {
  static func main() async { await PluginMain<SATAPlugin>.run() }
}
