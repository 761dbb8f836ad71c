import Services

extension BlockPlugin {
  /// What one end node can be and do: where its class gives whole disks away, beside what `capabilities` says of parts.
  static func capabilities(isMultiRoot: Bool) -> Capabilities {
    var capabilities = capabilities
    capabilities.multiRoot = isMultiRoot
    guard Class.givesWholeDisks else { return capabilities }
    capabilities.paths.insert(.direct, at: 0)
    capabilities.byPath = [
      PathCapabilities {
        $0.path = .direct
        $0.functions = 1
        $0.consumers = ["host", "container"]
        $0.attributes = capabilities.attributes.map { wholeDiskSupport(for: $0) }
      }
    ]
    return capabilities
  }

  /// Whatever an attribute limits, it limits by something between consumer and device.
  private static func wholeDiskSupport(for attribute: String) -> AttributeSupport {
    AttributeSupport {
      $0.attribute = attribute
      guard attribute != "block.size_bytes" else {
        $0.support = .supported
        return
      }
      $0.support = .refused
      $0.reason =
        "a whole disk is used as it is, with nothing between that could hold anybody back: ask for another path"
    }
  }
}
