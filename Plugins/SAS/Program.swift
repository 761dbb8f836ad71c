import FunctionPluginKit

/// Shares the disks behind SAS and other SCSI adapters: whole, to one host at a time of those that reach them, or as
/// extents; and adapters' virtual functions.
@main struct Program {
  static func main() async { await PluginMain<SASPlugin>.run() }
}
