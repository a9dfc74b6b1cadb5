// The reference library, by the path that leaves out its streaming and file parts: those need a package (axios) that
// it does not declare.
export * from '@dha-team/arbundles/build/node/esm/src/index'
