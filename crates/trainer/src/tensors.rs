//! An engine's tensors to files and back.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use bytes::Bytes;
use fidelio_backend::{BackendError, Learn, Part, TensorSink, TensorView};
use fidelio_weights::{
    Tensors, WeightsError,
    safetensors::{self, TensorPlan, save_safetensors},
};

use crate::CheckpointError;

/// The file of a part.
pub(crate) fn file(part: Part) -> &'static str {
    match part {
        Part::Parameters => "parameters.safetensors",
        Part::Optimizer => "optimizer.safetensors",
    }
}

/// Writes a part of what an engine has learnt into a folder.
///
/// A safetensors file begins with the sizes of all its tensors, which are known only when the last
/// one has come. They wait in a file, since all of them together may not fit in memory.
pub(crate) fn save(learner: &dyn Learn, part: Part, folder: &Path) -> Result<(), CheckpointError> {
    let path = folder.join(file(part));
    let waiting = path.with_extension("waiting");
    let fail = |source| CheckpointError::Write { path: waiting.clone(), source };
    let mut spool = Spool::new(&waiting).map_err(fail)?;
    let saved = learner.save(part, &mut spool);
    if let Some(source) = spool.failed.take() {
        return Err(fail(source));
    }
    saved.map_err(|source| CheckpointError::Engine { path: path.clone(), source })?;

    let plans = std::mem::take(&mut spool.plans);
    let sizes = std::mem::take(&mut spool.sizes);
    let mut sizes = sizes.into_iter();
    spool.file.seek(SeekFrom::Start(0)).map_err(fail)?;
    let written = save_safetensors(folder, &plans, u64::MAX, |_| {
        let mut bytes = vec![0; sizes.next().unwrap_or(0)];
        let read = spool.file.read_exact(&mut bytes);
        read.map_err(|source| WeightsError::Read { path: waiting.clone(), source })?;
        Ok(Bytes::from(bytes))
    })?;
    for written in written {
        fs::rename(&written, &path)
            .map_err(|source| CheckpointError::Write { path: path.clone(), source })?;
    }
    fs::remove_file(&waiting).map_err(fail)
}

/// Gives an engine back what [`save`] wrote.
pub(crate) fn restore(
    learner: &mut dyn Learn,
    part: Part,
    folder: &Path,
) -> Result<(), CheckpointError> {
    let path = folder.join(file(part));
    let tensors = safetensors::open(&path)?;
    learner.restore(part, &tensors).map_err(|source| CheckpointError::Engine { path, source })
}

/// The parameters in a folder.
pub(crate) fn open_parameters(folder: &Path) -> Result<Tensors, CheckpointError> {
    Ok(safetensors::open(&folder.join(file(Part::Parameters)))?)
}

/// Tensors one after the other in a file, and what is known of them.
struct Spool {
    file: File,
    plans: Vec<TensorPlan>,
    sizes: Vec<usize>,
    failed: Option<io::Error>,
}

impl Spool {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
        Ok(Self { file, plans: Vec::new(), sizes: Vec::new(), failed: None })
    }
}

impl TensorSink for Spool {
    fn put(&mut self, name: &str, tensor: TensorView) -> Result<(), BackendError> {
        if let Err(error) = self.file.write_all(&tensor.bytes) {
            let problem = BackendError::Engine(format!("`{name}` cannot be written: {error}"));
            self.failed = Some(error);
            return Err(problem);
        }
        self.sizes.push(tensor.bytes.len());
        let TensorView { encoding, shape, .. } = tensor;
        self.plans.push(TensorPlan { name: name.to_owned(), encoding, shape });
        Ok(())
    }
}
