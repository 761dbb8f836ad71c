import FunctionPluginKit

await PluginMain<EthernetPlugin>.run()
